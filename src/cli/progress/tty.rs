//! Running steps redrawn in place below the ones that are done.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::log::Log;
use super::{Show, out, render, summary, took};
use crate::diag::{Paint, Source, escape};
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::plan::StepId;

/// The terminal view. A thread redraws the running steps ten times a second.
pub struct Tty {
    file: Source,
    start: Instant,
    shared: Arc<(Mutex<Screen>, Condvar)>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Screen {
    paint: Paint,
    log: Log,
    running: BTreeMap<StepId, (StepInfo, Instant)>,
    /// Lines drawn below the cursor's home that the next drawing replaces.
    drawn: usize,
    steps: usize,
    ended: usize,
    /// A shell has the terminal, or the build is over.
    paused: bool,
    closed: bool,
}

const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

const TICK: Duration = Duration::from_millis(100);

impl Tty {
    pub fn new(file: Source, start: Instant) -> Self {
        let shared =
            Arc::new((Mutex::new(Screen { paint: out::paint(), ..Screen::default() }), Condvar::new()));
        let ticking = shared.clone();
        let ticker = std::thread::spawn(move || tick(&ticking));
        Self { file, start, shared, ticker: Some(ticker) }
    }

    fn with(&self, act: impl FnOnce(&mut Screen)) {
        act(&mut self.shared.0.lock().expect("no panic while held"));
    }

    fn close(&self) {
        self.with(|screen| {
            screen.closed = true;
            out::err(&screen.erase());
        });
        self.shared.1.notify_all();
    }
}

impl Drop for Tty {
    fn drop(&mut self) {
        self.close();
        if let Some(ticker) = self.ticker.take() {
            // The ticker never panics; if it did, there is nothing to redraw.
            let _ = ticker.join();
        }
    }
}

fn tick(shared: &(Mutex<Screen>, Condvar)) {
    let mut screen = shared.0.lock().expect("no panic while held");
    while !screen.closed {
        let redrawn = screen.redraw("");
        out::err(&redrawn);
        screen = shared.1.wait_timeout(screen, TICK).expect("no panic while held").0;
    }
}

impl Screen {
    /// Goes back over what was drawn and clears it.
    fn erase(&mut self) -> String {
        let lines = std::mem::take(&mut self.drawn);
        if lines == 0 { String::new() } else { format!("\x1b[{lines}A\r\x1b[J") }
    }

    /// New permanent lines, then the running steps below them.
    fn redraw(&mut self, permanent: &str) -> String {
        if self.paused || self.closed {
            return permanent.to_owned();
        }
        let mut text = self.erase();
        text.push_str(permanent);
        if self.running.is_empty() {
            return text;
        }
        let width = width();
        let done = format!("{}/{} steps done", self.ended, self.steps);
        let _ = writeln!(text, "{}", self.paint.wrap(DIM, &done));
        self.drawn = 1;
        for (step, began) in self.running.values() {
            let head =
                format!("{:>7} [{}] {}", took(began.elapsed()), step.name, escape(step.text.as_bytes()));
            let _ = writeln!(text, "{}", cut(&head, width));
            self.drawn += 1;
            if let Some(line) = self.log.newest(step) {
                let line = cut(&format!("        | {line}"), width);
                let _ = writeln!(text, "{}", self.paint.wrap(DIM, &line));
                self.drawn += 1;
            }
        }
        text
    }

    fn take(&mut self, event: &Event<'_>, file: &Source) -> String {
        self.log.take(event);
        match event {
            Event::Odd(found) => return render(file, found),
            Event::Note(text) => return format!("{text}\n"),
            Event::Planned { steps } => self.steps = *steps,
            Event::Started(step) => {
                self.running.entry(step.id).or_insert_with(|| ((*step).clone(), Instant::now()));
            }
            Event::Output { .. } => {}
            Event::Warning { step, text } => {
                return format!("{} [{}] {text}\n", self.paint.wrap(YELLOW, "warning"), step.name);
            }
            Event::Shell(step) => {
                let text =
                    self.erase() + &format!("shell in failed step [{}]; exit it to go on\n", step.name);
                self.paused = true;
                return text;
            }
            Event::Ended { step, end } => {
                self.ended += 1;
                let time =
                    self.running.remove(&step.id).map(|(_, began)| began.elapsed()).unwrap_or_default();
                return ended(step, end, time, self.paint);
            }
        }
        String::new()
    }
}

fn ended(step: &StepInfo, end: &End, time: Duration, paint: Paint) -> String {
    let text = escape(step.text.as_bytes());
    match end {
        End::Hit => format!("{} [{}] {text}\n", paint.wrap(CYAN, "    hit"), step.name),
        End::Built { why } => {
            let why = paint.wrap(DIM, &cut(&format!("        because {why}"), width()));
            let time = paint.wrap(GREEN, &format!("{:>7}", took(time)));
            format!("{time} [{}] {text}\n{why}\n", step.name)
        }
        End::Failed { .. } => format!("{} [{}] {text}\n", paint.wrap(RED, " failed"), step.name),
    }
}

fn width() -> usize {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(80, |size| usize::from(size.ws_col.max(20)))
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() < width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(2)).chain(['…']).collect()
}

impl Ui for Tty {
    fn event(&self, event: Event<'_>) {
        self.with(|screen| {
            let permanent = screen.take(&event, &self.file);
            // Output alone is drawn with the next tick: a chatty step must not cost a redraw a line.
            if !permanent.is_empty() {
                let text = screen.redraw(&permanent);
                out::err(&text);
            }
        });
    }
}

impl Show for Tty {
    fn built(&self, built: &Built) {
        self.close();
        out::err(&summary(built, self.start.elapsed()));
    }

    fn failed(&self, error: &BuildError) {
        self.close();
        self.with(|screen| out::err(&screen.log.failure(error, &self.file)));
    }
}
