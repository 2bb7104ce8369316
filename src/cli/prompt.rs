//! A line that a person types at the terminal, seen or unseen.

use std::io::{self, BufRead as _, IsTerminal as _, Read};
use std::os::fd::AsFd;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::{CliError, out};

/// The longest secret that is taken, in bytes.
const LONGEST: usize = 64 << 10;
/// How a program ends that SIGINT ends.
const INTERRUPTED: u8 = 130;

/// Asks for a line that everybody may see. `instead` is what to do where there is no terminal.
pub fn line(question: &str, instead: &str) -> Result<String, CliError> {
    let stdin = terminal(question, instead)?;
    out::err(&format!("{question}: "));
    let mut line = String::new();
    stdin.lock().read_line(&mut line).map_err(CliError::io("read the answer"))?;
    Ok(line.trim().to_owned())
}

/// Asks for a line that nobody sees.
pub fn secret(question: &str, instead: &str) -> Result<String, CliError> {
    let stdin = terminal(question, instead)?;
    out::err(&format!("{question}: "));
    let typed = unseen(stdin.lock());
    out::err("\n");
    match typed.map_err(CliError::io("read the answer"))? {
        Some(text) => Ok(text),
        None => Err(CliError::Exit(INTERRUPTED)),
    }
}

fn terminal(question: &str, instead: &str) -> Result<io::Stdin, CliError> {
    let stdin = io::stdin();
    match stdin.is_terminal() {
        true => Ok(stdin),
        false => Err(CliError::Usage(format!(
            "{} is needed, and standard input is no terminal to ask at; {instead}",
            question.to_lowercase()
        ))),
    }
}

/// A terminal that shows nothing and passes every key on; as it was again when dropped. Keys that would end the program
/// come as keys, so it cannot end in between.
struct Quiet<T: AsFd> {
    terminal: T,
    before: Termios,
}

impl<T: AsFd> Quiet<T> {
    fn new(terminal: T) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut quiet = before.clone();
        quiet.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl<T: AsFd> Drop for Quiet<T> {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Reads a line from a terminal that does not show it; `None` if it was interrupted.
fn unseen<T: AsFd + Read>(terminal: T) -> io::Result<Option<String>> {
    let mut quiet = Quiet::new(terminal)?;
    let mut line = Line::default();
    let mut key = [0];
    loop {
        let state = match quiet.terminal.read(&mut key)? {
            0 => Typing::Given(line.text()?),
            _ => line.press(key[0])?,
        };
        match state {
            Typing::More => {}
            Typing::Given(text) => return Ok(Some(text)),
            Typing::Interrupted => return Ok(None),
        }
    }
}

/// A line while it is typed.
#[derive(Default)]
struct Line(Vec<u8>);

#[derive(Debug, PartialEq, Eq)]
enum Typing {
    More,
    Given(String),
    Interrupted,
}

impl Line {
    fn press(&mut self, key: u8) -> io::Result<Typing> {
        match key {
            b'\r' | b'\n' => return Ok(Typing::Given(self.text()?)),
            // Ctrl-C, Ctrl-\, and Ctrl-D where there is nothing.
            0x03 | 0x1c => return Ok(Typing::Interrupted),
            0x04 if self.0.is_empty() => return Ok(Typing::Interrupted),
            0x04 => return Ok(Typing::Given(self.text()?)),
            // Backspace takes a character, of however many bytes.
            0x08 | 0x7f => while self.0.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {},
            // Ctrl-U.
            0x15 => self.0.clear(),
            _ if self.0.len() == LONGEST => return Err(io::Error::other("it is too long")),
            key => self.0.push(key),
        }
        Ok(Typing::More)
    }

    fn text(&mut self) -> io::Result<String> {
        String::from_utf8(std::mem::take(&mut self.0)).map_err(|_| io::Error::other("it is no UTF-8 text"))
    }
}

/// A secret on standard input: all of it but the end of its line.
pub fn piped(input: impl Read) -> Result<String, CliError> {
    let mut text = String::new();
    let read = input.take(LONGEST as u64 + 1).read_to_string(&mut text);
    read.map_err(CliError::io("read the password from standard input"))?;
    if text.len() > LONGEST {
        return Err(CliError::Usage(format!("the password on standard input has more than {LONGEST} bytes")));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
    use rustix::termios::LocalModes;
    use std::fs::File;
    use std::io::Write as _;

    fn typed(keys: &[u8]) -> Typing {
        let mut line = Line::default();
        keys.iter().map(|key| line.press(*key).unwrap()).find(|state| *state != Typing::More).unwrap()
    }

    #[test]
    fn keys() {
        assert_eq!(typed(b"secret\r"), Typing::Given("secret".into()));
        assert_eq!(typed("xé\u{7f}\u{7f}\u{7f}ab\u{8}c\n".as_bytes()), Typing::Given("ac".into()));
        assert_eq!(typed(b"wrong\x15right\n"), Typing::Given("right".into()));
        assert_eq!(typed(b"se\x03"), Typing::Interrupted);
        assert_eq!(typed(b"\x04"), Typing::Interrupted);
        assert_eq!(typed(b"se\x04"), Typing::Given("se".into()));
        assert!(Line(b"\xff".to_vec()).press(b'\n').is_err());
        assert!(Line(vec![b'x'; LONGEST]).press(b'x').is_err());
    }

    #[test]
    fn a_terminal_shows_nothing_and_is_as_before() {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let terminal = File::from(ioctl_tiocgptpeer(&master, flags).unwrap());
        let mut master = File::from(master);
        let before = tcgetattr(&terminal).unwrap();
        assert!(before.local_modes.contains(LocalModes::ECHO));
        let reader = terminal.try_clone().unwrap();
        let answer = std::thread::spawn(move || unseen(reader).unwrap());
        while tcgetattr(&terminal).unwrap().local_modes.contains(LocalModes::ECHO) {
            std::thread::yield_now();
        }
        master.write_all(b"hunter2\r").unwrap();
        assert_eq!(answer.join().unwrap().unwrap(), "hunter2");
        assert_eq!(tcgetattr(&terminal).unwrap().local_modes, before.local_modes);
        (&terminal).write_all(b"!").unwrap();
        let mut shown = [0; 64];
        let length = master.read(&mut shown).unwrap();
        assert_eq!(&shown[..length], b"!", "nothing that was typed came back");
    }

    #[test]
    fn what_is_piped_loses_the_end_of_its_line() {
        for (text, password) in [("a b", "a b"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("", "")] {
            assert_eq!(piped(text.as_bytes()).unwrap(), password);
        }
        assert!(piped(vec![b'x'; LONGEST + 1].as_slice()).is_err());
    }
}
