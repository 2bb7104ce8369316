//! Files of keys, as options name them (spec/signatures.md, "Keys").

use std::path::Path;

use super::session::variable;
use super::{CliError, prompt};
use crate::sign::{KeyError, PublicKey, Signer, Trust};

/// Where passphrases of sealed keys come from, in this order; the second is cosign's.
const PASSPHRASES: [&str; 2] = ["LITH_KEY_PASSWORD", "COSIGN_PASSWORD"];

/// The public key of a file that an option names.
pub fn public(option: &str, file: &Path) -> Result<PublicKey, CliError> {
    PublicKey::from_pem(&read(option, file)?).map_err(|error| wrong(option, file, &error))
}

/// The public keys of files, which are trusted.
pub fn trust(option: &str, files: &[impl AsRef<Path>]) -> Result<Trust, CliError> {
    let keys = files.iter().map(|file| public(option, file.as_ref())).collect::<Result<_, _>>()?;
    Trust::new(keys).map_err(|error| CliError::Usage(format!("{option}: {error}")))
}

/// The private key of a file. The passphrase of a sealed one is asked for if no variable says it.
pub fn signer(option: &str, file: &Path) -> Result<Signer, CliError> {
    let text = read(option, file)?;
    let said = PASSPHRASES.iter().find_map(|name| variable(name));
    let opened = match Signer::from_pem(&text, said.as_deref().map(str::as_bytes)) {
        Err(KeyError::Locked) => Signer::from_pem(&text, Some(asked(file)?.as_bytes())),
        opened => opened,
    };
    opened.map_err(|error| wrong(option, file, &error))
}

fn asked(file: &Path) -> Result<String, CliError> {
    let question = format!("Passphrase of {}", file.display());
    prompt::secret(&question, &format!("say it in {}", PASSPHRASES[0]))
}

fn read(option: &str, file: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(file).map_err(|error| wrong(option, file, &error))
}

fn wrong(option: &str, file: &Path, error: &dyn std::fmt::Display) -> CliError {
    CliError::Usage(format!("{option}: key {}: {error}", file.display()))
}
