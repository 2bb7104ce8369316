//! What of a project does not go into its builds.

use super::{Kind, Project, node};

/// Versions, editors, what is made of the sources, and what nobody should find in an image.
const ALWAYS: [&str; 9] =
    [".git", ".github", ".idea", ".vscode", "**/.DS_Store", ".env", ".dockerignore", "*.kdl", "lith.lock"];

/// The text of a `.dockerignore`.
pub fn ignore_file(project: &Project, kind: Option<Kind>) -> String {
    let mut text =
        "# What builds do not see: it makes no layer, and no step runs again because of it.\n".to_owned();
    let own: &[&str] = match kind {
        Some(Kind::Cargo) => &["target"],
        Some(Kind::Go) => &["bin", "*.test"],
        Some(Kind::Node) if node::has_own_modules(project) => &["coverage", "**/*.log"],
        Some(Kind::Node) => &["node_modules", "coverage", "**/*.log"],
        Some(Kind::Python) => {
            &[".venv", "venv", "**/__pycache__", "**/*.pyc", ".pytest_cache", ".mypy_cache"]
        }
        None => &["target", "node_modules", "**/__pycache__"],
    };
    for pattern in ALWAYS.iter().chain(own) {
        text.push_str(pattern);
        text.push('\n');
    }
    text
}
