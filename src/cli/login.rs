//! `lith login` and `lith logout`.

use std::io::{self, Read};

use clap::Args;

use super::client::{Only, RegistryArgs};
use super::logins::logins;
use super::registries::registries;
use super::{CliError, out, prompt};
use crate::fetch::Watcher;
use crate::login::{AuthFiles, Kept, Login as Credentials, Secret, registry_of};

/// Arguments of `lith login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The registry: HOST[:PORT], or docker.io
    registry: String,
    /// Who logs in; asked for at the terminal if it is not given
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Take the password, or a token, from standard input
    #[arg(long, requires = "username")]
    password_stdin: bool,
    #[arg(short, long, hide = true, value_name = "PASSWORD")]
    password: Option<String>,
    #[command(flatten)]
    client: RegistryArgs,
}

impl Login {
    /// Keeps a login that the registry takes; one that it does not is kept nowhere.
    pub fn run(self) -> Result<(), CliError> {
        let logins = logins()?;
        let (registry, login) = self.credentials(&mut io::stdin().lock(), &mut ask)?;
        let only = Box::new(Only { registry: registry.to_owned(), login: login.clone() });
        self.client.client([registry], &registries()?, only, Watcher::default())?.check(registry)?;
        let kept = logins.keep(registry, &login)?;
        if let Kept::File(path) = kept {
            out::err(&format!(
                "note: the password is kept in {}, where root and whoever acts for you can read it; a credential \
                 helper (credsStore there) keeps it better\n",
                path.display()
            ));
        }
        out::print("Login Succeeded\n");
        Ok(())
    }

    /// What is to be kept, and for which registry.
    fn credentials(
        &self,
        input: &mut dyn Read,
        ask: &mut dyn FnMut(Question) -> Result<String, CliError>,
    ) -> Result<(&str, Credentials), CliError> {
        if self.password.is_some() {
            return Err(CliError::Usage(
                "a password among the arguments shows in the list of processes and in the shell's history; use \
                 --password-stdin, or leave it out to be asked"
                    .into(),
            ));
        }
        let registry = registry(&self.registry)?;
        let user = self.username.clone().map_or_else(|| ask(Question::User), Ok)?;
        if user.is_empty() || user.contains([':', '\n', '\0']) {
            return Err(CliError::Usage("the user's name is empty, or has a colon; expected USER".into()));
        }
        let password = match self.password_stdin {
            true => prompt::piped(input)?,
            false => ask(Question::Password)?,
        };
        if password.is_empty() {
            return Err(CliError::Usage("the password is empty".into()));
        }
        Ok((registry, Credentials::Password { user, password: Secret::new(password) }))
    }
}

/// What a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    User,
    Password,
}

fn ask(question: Question) -> Result<String, CliError> {
    match question {
        Question::User => prompt::line("Username", "name the user with -u"),
        Question::Password => prompt::secret("Password", "give it there with --password-stdin"),
    }
}

/// The registry that an argument names.
fn registry(text: &str) -> Result<&str, CliError> {
    registry_of(text).ok_or_else(|| {
        CliError::Usage(format!("{text:?} names no registry; expected HOST[:PORT], without a path or a user"))
    })
}

/// Arguments of `lith logout`.
#[derive(Debug, Args)]
pub struct Logout {
    /// The registry: HOST[:PORT]
    #[arg(default_value = "docker.io")]
    registry: String,
}

impl Logout {
    /// Forgets the login of a registry.
    pub fn run(self) -> Result<(), CliError> {
        out::print(&self.forget(&logins()?)?);
        Ok(())
    }

    fn forget(&self, logins: &AuthFiles) -> Result<String, CliError> {
        let registry = registry(&self.registry)?;
        let forgotten = logins.forget(registry)?;
        if forgotten.is_empty() {
            let known: Vec<String> = logins.registries().into_iter().collect();
            let known = if known.is_empty() { "no registry".to_owned() } else { known.join(", ") };
            return Err(CliError::Failed(format!(
                "not logged in to {registry}; there are logins for {known}"
            )));
        }
        let lines = forgotten.iter().map(|kept| match kept {
            Kept::Helper(name) => format!("Removed the login for {registry} from docker-credential-{name}\n"),
            Kept::File(path) => format!("Removed the login for {registry} from {}\n", path.display()),
        });
        Ok(lines.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::login::{Helpers, Logins as _, Places};
    use clap::Parser;

    #[derive(Parser)]
    enum Verb {
        Login(Login),
        Logout(Logout),
    }

    fn parsed(line: &str) -> Result<Verb, String> {
        Verb::try_parse_from(["lith"].into_iter().chain(line.split(' '))).map_err(|error| error.to_string())
    }

    /// What a line of arguments comes to, with a standard input and what a person answers.
    fn credentials(line: &str, input: &str, answers: &[&str]) -> Result<(String, String), String> {
        let Verb::Login(login) = parsed(line)? else { panic!("{line}") };
        let mut answers = answers.iter();
        let mut ask = |question| {
            let answer = answers.next().map(|answer| (*answer).to_owned());
            answer.ok_or_else(|| CliError::Usage(format!("nobody answers: {question:?}")))
        };
        match login.credentials(&mut input.as_bytes(), &mut ask) {
            Ok((registry, Credentials::Password { user, password })) => {
                Ok((registry.to_owned(), format!("{user} {}", password.reveal())))
            }
            Ok((_, Credentials::IdentityToken(_))) => panic!("{line}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_password_comes_from_a_pipe_or_a_person() {
        let is = |registry: &str, who: &str| Ok((registry.to_owned(), who.to_owned()));
        let piped = "login -u me --password-stdin a.example:5000";
        assert_eq!(credentials(piped, "p w\n", &[]), is("a.example:5000", "me p w"));
        assert_eq!(credentials("login -u me a.example", "", &["pw"]), is("a.example", "me pw"));
        assert_eq!(
            credentials("login https://index.docker.io/v1/", "", &["me", "pw"]),
            is("docker.io", "me pw")
        );
    }

    #[test]
    fn what_is_refused() {
        let said = |line: &str, answers: &[&str]| credentials(line, "\n", answers).unwrap_err();
        let argument = said("login -u me -p hunter2 a.example", &[]);
        assert!(argument.contains("list of processes") && !argument.contains("hunter2"), "{argument}");
        assert!(said("login --password-stdin a.example", &[]).contains("--username"));
        assert!(said("login -u me --password-stdin a.example", &[]).contains("the password is empty"));
        assert!(said("login -u a:b a.example", &["pw"]).contains("colon"));
        assert!(said("login -u me a.example", &[]).contains("nobody answers: Password"));
        for bad in ["a.example/team", "me@a.example", "ftp://a.example"] {
            assert!(said(&format!("login -u me {bad}"), &["pw"]).contains("names no registry"), "{bad}");
        }
    }

    #[test]
    fn logging_out() {
        let home = tempfile::tempdir().unwrap();
        let places = Places {
            runtime_dir: Some(home.path().join("run")),
            home: Some(home.path().to_owned()),
            ..Places::default()
        };
        let logins = AuthFiles::new(&places, Helpers::on("".as_ref()));
        let login = Credentials::Password { user: "me".into(), password: Secret::new("p") };
        let forget = |line: &str| {
            let Ok(Verb::Logout(logout)) = parsed(line) else { panic!("{line}") };
            logout.forget(&logins).map_err(|error| error.to_string())
        };
        assert_eq!(
            forget("logout").unwrap_err(),
            "not logged in to docker.io; there are logins for no registry"
        );
        logins.keep("docker.io", &login).unwrap();
        logins.keep("a.example", &login).unwrap();
        let file = home.path().join(".docker/config.json");
        let done = format!("Removed the login for docker.io from {}\n", file.display());
        assert_eq!(forget("logout").unwrap(), done);
        let said = forget("logout b.example").unwrap_err();
        assert_eq!(said, "not logged in to b.example; there are logins for a.example");
        assert_eq!(logins.login("a.example").unwrap(), Some(login));
    }
}
