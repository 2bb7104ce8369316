//! Terminals, with a person's terminal before them: tmux.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{World, eventually};
use crate::rootless::Ids;
use crate::support::{has, skip};

/// A tmux server of the test's own.
pub(super) struct Screen {
    socket: std::path::PathBuf,
}

impl Screen {
    /// Runs a shell command in a terminal of 80 by 24.
    pub(super) fn new(world: &World, script: &str) -> Self {
        static SERIAL: AtomicU32 = AtomicU32::new(0);
        let name = format!("tmux{}", SERIAL.fetch_add(1, Ordering::Relaxed));
        let screen = Self { socket: world.lab().path(&name) };
        screen.tmux(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", script]);
        screen
    }

    fn tmux(&self, args: &[&str]) -> String {
        let output = Command::new("tmux").arg("-S").arg(&self.socket).args(args).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(super) fn keys(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat());
    }

    pub(super) fn shows(&self) -> String {
        self.tmux(&["capture-pane", "-p"])
    }

    #[track_caller]
    pub(super) fn wait_for(&self, text: &str) {
        let began = std::time::Instant::now();
        while !self.shows().contains(text) {
            assert!(began.elapsed().as_secs() < 20, "{text:?} does not show up in\n{}", self.shows());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = Command::new("tmux").arg("-S").arg(&self.socket).arg("kill-server").output();
    }
}

/// The words of a command as a shell takes them, followed by what its exit code was.
pub(super) fn script(world: &World, args: &[&str]) -> String {
    let command = world.command(args);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let quoted: Vec<String> =
        words.map(|word| format!("'{}'", word.to_str().unwrap().replace('\'', "'\\''"))).collect();
    format!("cd / && {}; echo \"code=$?\"; stty -a | grep -o -- '-*icanon'; sleep 1000", quoted.join(" "))
}

pub(super) fn worlds(tag: &str) -> Vec<World> {
    if !has("tmux") {
        return skip::<Vec<World>>("needs tmux").unwrap_or_default();
    }
    [World::root(), World::user(tag, Ids::Range)].into_iter().flatten().collect()
}

#[test]
fn an_editor_is_usable() {
    for world in worlds("vi") {
        let screen =
            Screen::new(&world, &script(&world, &["run", "--name", "ed", "-it", "base", "vi", "/note"]));
        screen.wait_for("~");
        screen.keys(&["i", "hello"]);
        screen.wait_for("hello");
        // Followed at once, an escape is the beginning of a key to an editor.
        screen.keys(&["Escape"]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        screen.keys(&[":wq", "Enter"]);
        screen.wait_for("code=0");
        screen.wait_for("icanon");
        assert!(!screen.shows().contains("-icanon"), "the terminal is as it was: {}", screen.shows());
        let upper = world.inspect("ed")["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
        assert_eq!(std::fs::read_to_string(format!("{upper}/note")).unwrap(), "hello\n");
        world.ok(&["rm", "-f", "ed"]);
    }
}

#[test]
fn top_is_usable_and_follows_a_new_size() {
    for world in worlds("top") {
        let screen = Screen::new(&world, &script(&world, &["run", "--rm", "-it", "base", "top", "-d", "1"]));
        screen.wait_for("Load average");
        screen.keys(&["q"]);
        screen.wait_for("code=0");
        drop(screen);
        let sized = "trap 'stty size' WINCH; stty size; echo begun; while :; do sleep 0.1; done";
        let screen = Screen::new(&world, &script(&world, &["run", "--rm", "-it", "base", "sh", "-c", sized]));
        screen.wait_for("24 80");
        screen.wait_for("begun");
        screen.tmux(&["resize-window", "-x", "100", "-y", "30"]);
        screen.wait_for("30 100");
    }
}

#[test]
fn keys_reach_the_program_and_its_code_comes_back() {
    for world in worlds("keys") {
        let trapping = "trap 'echo got it; exit 42' INT; echo ready; while :; do sleep 0.05; done";
        let screen =
            Screen::new(&world, &script(&world, &["run", "--rm", "-it", "base", "sh", "-c", trapping]));
        screen.wait_for("ready");
        screen.keys(&["C-c"]);
        screen.wait_for("got it");
        screen.wait_for("code=42");
        drop(screen);
        // Job control works: there is a controlling terminal.
        let screen = Screen::new(&world, &script(&world, &["run", "--rm", "-it", "base", "sh"]));
        screen.keys(&["tty; sleep 1000", "Enter"]);
        screen.wait_for("/dev/pts/0");
        screen.keys(&["C-z"]);
        screen.keys(&["jobs", "Enter"]);
        screen.wait_for("Stopped");
        screen.keys(&["exit 3", "Enter"]);
        screen.keys(&["exit 3", "Enter"]);
        screen.wait_for("code=3");
    }
}

#[test]
fn leaving_and_coming_back() {
    for world in worlds("leave") {
        let script_of = |args: &[&str]| script(&world, args);
        let screen = Screen::new(&world, &script_of(&["run", "--name", "stay", "-it", "base", "sh"]));
        screen.keys(&["echo in$((1+1))side", "Enter"]);
        screen.wait_for("in2side");
        screen.keys(&["C-p", "C-q"]);
        screen.wait_for("code=0");
        assert_eq!(world.ok(&["ps", "--format", "{{.Names}}"]), "stay");
        assert!(!screen.shows().contains("-icanon"), "{}", screen.shows());
        drop(screen);
        let screen =
            Screen::new(&world, &script_of(&["exec", "-it", "stay", "sh", "-c", "tty; read x; exit 5"]));
        screen.wait_for("/dev/pts/1");
        screen.keys(&["Enter"]);
        screen.wait_for("code=5");
        drop(screen);
        world.ok(&["rm", "-f", "stay"]);
    }
}

#[test]
fn a_signal_to_a_caller_without_a_terminal_reaches_the_program() {
    let Some(world) = World::root() else { return };
    let trapping = "trap 'echo bye; exit 4' TERM; echo ready; while :; do sleep 0.05; done";
    let mut caller = world.command(&["run", "--name", "polite", "base", "sh", "-c", trapping]);
    let mut caller = caller.stdout(std::process::Stdio::piped()).spawn().unwrap();
    eventually("it is ready", || world.run(&["logs", "polite"]).out.contains("ready"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(caller.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(caller.wait().unwrap().code(), Some(4));
    assert_eq!(world.ok(&["logs", "polite"]), "ready\nbye");
}
