//! The table of `spec/reproducibility.md`: what each mode makes of each snippet.

use std::process::Command;

use crate::support::corpus::{DEBIAN, Machine, Mode, Snippet, snippets};
use crate::{Pair, data};

/// The layers of two machines.
enum Twice {
    Same,
    Differ([String; 2]),
    /// A seeded step made a key.
    Refused,
    Failed(String),
}

/// What is said of a key in a seeded step.
const REFUSAL: &str = "randomness follows from a seed";

impl Twice {
    fn of(one: Layer, other: Layer) -> Self {
        match (one, other) {
            (Ok(one), Ok(other)) if one == other => Self::Same,
            (Ok(one), Ok(other)) => Self::Differ([one, other]),
            (Err(one), Err(other)) if one.contains(REFUSAL) && other.contains(REFUSAL) => Self::Refused,
            (Err(text), _) | (_, Err(text)) => Self::Failed(text),
        }
    }

    /// `held` is whether the mode says that they are the same.
    fn word(&self, held: bool) -> &'static str {
        match self {
            Self::Same if !held => "same by luck",
            Self::Same => "same",
            Self::Differ(_) => "differs",
            Self::Refused => "refused",
            Self::Failed(_) => "fails",
        }
    }
}

pub fn print(pair: &Pair, names: &[String]) {
    pair.base(&data("base.kdl"), "corpus");
    println!("\n| snippet | what varies | plain | hermetic | deterministic | why it stays different |");
    println!("|---|---|---|---|---|---|");
    let mut counts = [0; 3];
    let (mut all, mut refused) = (0, 0);
    let mut surprises = Vec::new();
    let wanted = |snippet: &Snippet| names.is_empty() || names.contains(&snippet.name);
    let wanted: Vec<Snippet> = DEBIAN.iter().flat_map(|file| snippets(file)).filter(wanted).collect();
    // All on one machine first, so that it is later on the other: minutes, if it is all of them.
    let ones: Vec<[Layer; 3]> =
        wanted.iter().map(|snippet| pair.with(|[one, _]| layers(one, snippet))).collect();
    for (snippet, ones) in wanted.iter().zip(ones) {
        all += 1;
        let [plain, hermetic, deterministic] = pair.with(|[_, other]| layers(other, snippet));
        let [one, two, three] = ones;
        let found = [Twice::of(one, plain), Twice::of(two, hermetic), Twice::of(three, deterministic)];
        let held = |mode| mode != Mode::Plain && snippet.reason.is_none();
        for ((count, twice), mode) in counts.iter_mut().zip(&found).zip(Mode::ALL) {
            *count += usize::from(matches!(twice, Twice::Same) && (held(mode) || mode == Mode::Plain));
        }
        refused += usize::from(matches!(found[2], Twice::Refused));
        let words: Vec<&str> =
            Mode::ALL.iter().zip(&found).map(|(mode, twice)| twice.word(held(*mode))).collect();
        let reason = snippet.reason.as_deref().unwrap_or_default();
        println!("| {} | {} | {} | {reason} |", snippet.name, snippet.varies, words.join(" | "));
        match &found[2] {
            Twice::Differ(layers) if snippet.reason.is_none() => {
                let seen = pair.with(|machines| differing(machines, layers));
                surprises.push(format!("{}: differs in\n{seen}", snippet.name));
            }
            Twice::Failed(text) if snippet.reason.is_none() => {
                surprises.push(format!("{}: {text}", snippet.name))
            }
            Twice::Same | Twice::Differ(_) | Twice::Refused | Twice::Failed(_) => {}
        }
    }
    let [plain, hermetic, deterministic] = counts;
    println!(
        "\nthe same: {plain} plain, {hermetic} hermetic, {deterministic} deterministic, of {all}, of which {refused} are refused"
    );
    surprises.iter().for_each(|text| println!("unexpected: {text}"));
}

/// The layer of a step, or why there is none.
type Layer = Result<String, String>;

fn layers(machine: &Machine<'_>, snippet: &Snippet) -> [Layer; 3] {
    Mode::ALL.map(|mode| machine.layer("corpus", &snippet.name, &snippet.script, mode))
}

/// What differs in two layers, in a few lines.
pub fn differing(machines: [&Machine<'_>; 2], layers: &[String; 2]) -> String {
    let tars = [0, 1].map(|at| machines[at].tar(&layers[at]));
    let script = "mkdir \"$1/one\" \"$1/other\"; tar -xf \"$2\" -C \"$1/one\"; tar -xf \"$3\" -C \"$1/other\"; \
        cd \"$1\"; diff -rq --no-dereference one other | grep -v 'special file' | head -n 20";
    let place = tempfile::TempDir::new_in("/dev/shm").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(place.path()).args(tars);
    String::from_utf8_lossy(&command.output().unwrap().stdout).into_owned()
}
