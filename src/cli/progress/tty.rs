//! Running steps redrawn in place below the ones that are done.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fetches::{self, Fetches};
use super::log::Log;
use super::{Show, out, render, summary, took, verb};
use crate::diag::{Paint, Source, escape};
use crate::engine::BuildError;
use crate::engine::finish::Built;
use crate::engine::report::{End, Event, StepInfo, Ui};
use crate::fetch::watch::{Act, Amount, TaskEnd, TaskId, Watch};
use crate::plan::StepId;

/// The terminal view. A thread redraws the running steps ten times a second.
pub struct Tty {
    file: OnceLock<Source>,
    start: Instant,
    shared: Arc<(Mutex<Screen>, Condvar)>,
    ticker: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Screen {
    paint: Paint,
    log: Log,
    running: BTreeMap<StepId, (StepInfo, Instant)>,
    fetches: Fetches,
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
/// What takes no longer is not shown: it would only flicker.
const BLINK: Duration = Duration::from_millis(250);
/// How many of the things that are fetched at once are shown.
const FETCHES: usize = 8;

impl Tty {
    pub fn new(start: Instant) -> Self {
        let shared =
            Arc::new((Mutex::new(Screen { paint: out::paint(), ..Screen::default() }), Condvar::new()));
        let ticking = shared.clone();
        let ticker = std::thread::spawn(move || tick(&ticking));
        Self { file: OnceLock::new(), start, shared, ticker: Some(ticker) }
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
        let (width, height) = size();
        let mut lines = self.lines(width);
        // What scrolls away cannot be drawn over.
        lines.truncate(height.saturating_sub(1));
        self.drawn = lines.len();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// What goes on, a line each.
    fn lines(&self, width: usize) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.running.is_empty() {
            let done = format!("{}/{} steps done", self.ended, self.steps);
            lines.push(self.paint.wrap(DIM, &done));
        }
        for (step, began) in self.running.values() {
            let head =
                format!("{:>7} [{}] {}", took(began.elapsed()), step.name, escape(step.text.as_bytes()));
            lines.push(cut(&head, width));
            if let Some(line) = self.log.newest(step) {
                lines.push(self.paint.wrap(DIM, &cut(&format!("        | {line}"), width)));
            }
        }
        for fetch in self.fetches.shown(BLINK).take(FETCHES) {
            let head =
                format!("{:>7} {} {}", took(fetch.began.elapsed()), verb(fetch.act, false), fetch.what);
            lines.push(fetches::line(&head, &fetches::amount(&fetch.amount), width - 1));
        }
        lines
    }

    fn take(&mut self, event: &Event<'_>, file: Option<&Source>) -> String {
        self.log.take(event);
        match event {
            Event::Odd(found) => return file.map(|file| render(file, found)).unwrap_or_default(),
            Event::Note(text) => return format!("{text}\n"),
            Event::Planned { steps } => self.steps = *steps,
            Event::Started(step) => {
                self.running.entry(step.id).or_insert_with(|| ((*step).clone(), Instant::now()));
            }
            Event::Output { .. } | Event::Taken { .. } | Event::Part { .. } | Event::Left { .. } => {}
            Event::Warning { step, text } => {
                return format!("{} [{}] {text}\n", self.paint.wrap(YELLOW, "warning"), step.name);
            }
            Event::Remark { step, text } => {
                let text = cut(&format!("        [{}] {text}", step.name), size().0);
                return format!("{}\n", self.paint.wrap(DIM, &text));
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
            let why = paint.wrap(DIM, &cut(&format!("        because {why}"), size().0));
            let time = paint.wrap(GREEN, &format!("{:>7}", took(time)));
            format!("{time} [{}] {text}\n{why}\n", step.name)
        }
        End::Failed { .. } => format!("{} [{}] {text}\n", paint.wrap(RED, " failed"), step.name),
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    rustix::termios::tcgetwinsize(rustix::stdio::stderr())
        .map_or((80, 24), |size| (usize::from(size.ws_col.max(20)), usize::from(size.ws_row.max(4))))
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
            let permanent = screen.take(&event, self.file.get());
            // Output alone is drawn with the next tick: a chatty step must not cost a redraw a line.
            if !permanent.is_empty() {
                let text = screen.redraw(&permanent);
                out::err(&text);
            }
        });
    }

    fn clock(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Watch for Tty {
    fn begun(&self, task: TaskId, act: Act, what: &str) {
        self.with(|screen| screen.fetches.begun(task, act, what));
    }

    // Drawn with the next tick.
    fn moved(&self, task: TaskId, amount: &Amount) {
        self.with(|screen| {
            let _ = screen.fetches.moved(task, amount, (TICK, TICK));
        });
    }

    fn ended(&self, task: TaskId, _: TaskEnd) {
        self.with(|screen| {
            let _ = screen.fetches.ended(task);
        });
    }

    fn warned(&self, text: &str) {
        self.with(|screen| {
            let line = format!("{} {text}\n", screen.paint.wrap(YELLOW, "warning"));
            let text = screen.redraw(&line);
            out::err(&text);
        });
    }
}

impl Show for Tty {
    fn reads(&self, file: &Source) {
        self.file.get_or_init(|| file.clone());
    }

    fn built(&self, built: &Built) {
        self.close();
        out::err(&summary(built, self.start.elapsed()));
    }

    fn failed(&self, error: &BuildError) {
        self.close();
        let file = self.file.get();
        self.with(|screen| out::err(&file.map(|file| screen.log.failure(error, file)).unwrap_or_default()));
    }
}
