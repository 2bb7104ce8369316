//! HEALTHCHECK: a process in the container every so often (docker's rules, moby's daemon/health.go).

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFlags, Timespec};

use super::program::chunk;
use super::{Interest, Ready};
use crate::container::life;
use crate::container::state::{Health, HealthStatus, Probe, now};
use crate::oci::Healthcheck;
use crate::sandbox::spec::{Process, Stdio};
use crate::sandbox::{Event, Launcher, Running};

/// docker's, where the image says nothing.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;
/// How much of a check's output is kept, and how many checks.
const OUTPUT: usize = 4096;
const KEPT: usize = 5;
/// What docker's shell form runs in.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// Before the first check.
fn starting() -> Health {
    Health { status: HealthStatus::Starting, failing_streak: 0, log: vec![] }
}

/// The checks of one container.
pub(super) struct Checks {
    plan: Option<Plan>,
    health: Health,
    began: Option<Instant>,
    next: Option<Instant>,
    running: Option<Probing>,
}

struct Plan {
    process: Process,
    interval: Duration,
    timeout: Duration,
    start_period: Duration,
    start_interval: Duration,
    retries: u32,
}

/// A check that runs.
struct Probing {
    running: Running,
    start: String,
    began: Instant,
    deadline: Instant,
    output: Vec<u8>,
    code: Option<i32>,
    overdue: bool,
}

impl Checks {
    /// Those that an image asks for, run as its program is.
    pub(super) fn new(check: Option<&Healthcheck>, program: &Process) -> Self {
        let plan = check.and_then(|check| Plan::new(check, program));
        Self { plan, health: starting(), began: None, next: None, running: None }
    }

    /// The program runs from now on. Its health, if it is to be checked.
    pub(super) fn begin(&mut self) -> Option<Health> {
        let plan = self.plan.as_ref()?;
        let began = Instant::now();
        self.began = Some(began);
        self.next = Some(began + plan.pause(&self.health, began, began));
        Some(self.health.clone())
    }

    /// How long until something is to be done without being told.
    pub(super) fn due(&self) -> Option<Timespec> {
        let at = match &self.running {
            // Its end is what is waited for.
            Some(probe) if probe.overdue => return None,
            Some(probe) => probe.deadline,
            None => self.next?,
        };
        let left = at.saturating_duration_since(Instant::now());
        Timespec::try_from(left).ok()
    }

    pub(super) fn register<'a>(&'a self, wanted: &mut Interest<'a>) {
        let Some(probe) = &self.running else { return };
        wanted.add_fd(probe.running.socket(), PollFlags::IN);
        for stream in [&probe.running.stdout, &probe.running.stderr].into_iter().flatten() {
            wanted.add(stream, PollFlags::IN);
        }
    }

    /// Goes on with what is due. The new health, if it changed.
    pub(super) fn handle(&mut self, ready: &Ready, init: &OwnedFd) -> Option<Health> {
        let plan = self.plan.as_ref()?;
        let time = Instant::now();
        if let Some(probe) = &mut self.running {
            if !probe.handle(ready, time) {
                return None;
            }
            let probe = self.running.take()?;
            let began = self.began?;
            let end = Instant::now();
            self.health = plan.judge(&self.health, probe, began);
            self.next = Some(end + plan.pause(&self.health, began, end));
            return Some(self.health.clone());
        }
        if self.next.is_some_and(|next| next <= time) {
            self.next = None;
            match Probing::start(plan, init) {
                Some(probe) => self.running = Some(probe),
                // The container is about to end, or the machine has no room; the next time tells.
                None => self.next = Some(time + plan.interval),
            }
        }
        None
    }
}

impl Plan {
    fn new(check: &Healthcheck, program: &Process) -> Option<Self> {
        let argv = match check.test.split_first()? {
            (kind, argv) if kind == "CMD" && !argv.is_empty() => argv.to_vec(),
            (kind, [text, ..]) if kind == "CMD-SHELL" => {
                SHELL.iter().map(|word| (*word).to_owned()).chain([text.clone()]).collect()
            }
            _ => return None,
        };
        let time = |nanos: i64, usual: Duration| match u64::try_from(nanos) {
            Ok(nanos @ 1..) => Duration::from_nanos(nanos),
            _ => usual,
        };
        Some(Self {
            process: Process { argv, stdio: Stdio::Output, ..program.clone() },
            interval: time(check.interval, INTERVAL),
            timeout: time(check.timeout, TIMEOUT),
            start_period: time(check.start_period, Duration::ZERO),
            start_interval: time(check.start_interval, START_INTERVAL),
            retries: u32::try_from(check.retries).ok().filter(|n| *n > 0).unwrap_or(RETRIES),
        })
    }

    /// How long to wait for the next check: while the program starts they come faster.
    fn pause(&self, health: &Health, began: Instant, time: Instant) -> Duration {
        let starts = health.status == HealthStatus::Starting && time < began + self.start_period;
        if starts { self.start_interval.min(self.interval) } else { self.interval }
    }

    /// `began` is when the program was started.
    fn judge(&self, before: &Health, probe: Probing, began: Instant) -> Health {
        let exit_code = probe.code.unwrap_or(-1);
        let mut health = before.clone();
        health.log.push(Probe {
            start: probe.start,
            end: now(),
            exit_code,
            output: match probe.overdue {
                true => format!("Health check exceeded timeout ({}s)", self.timeout.as_secs_f64()),
                false => String::from_utf8_lossy(&probe.output).into_owned(),
            },
        });
        let surplus = health.log.len().saturating_sub(KEPT);
        health.log.drain(..surplus);
        if exit_code == 0 {
            return Health { status: HealthStatus::Healthy, failing_streak: 0, ..health };
        }
        // Failures do not count while the program starts.
        if before.status == HealthStatus::Starting && probe.began < began + self.start_period {
            return health;
        }
        health.failing_streak += 1;
        if health.failing_streak >= self.retries {
            health.status = HealthStatus::Unhealthy;
        }
        health
    }
}

impl Probing {
    fn start(plan: &Plan, init: &OwnedFd) -> Option<Self> {
        let running = Launcher::default().enter(init.as_fd(), &plan.process).ok()?;
        let (output, code) = (vec![], None);
        let began = Instant::now();
        let deadline = began + plan.timeout;
        Some(Self { running, start: now(), began, deadline, output, code, overdue: false })
    }

    /// Whether it is over.
    fn handle(&mut self, ready: &Ready, time: Instant) -> bool {
        for pipe in [&mut self.running.stdout, &mut self.running.stderr] {
            let output = &mut self.output;
            let take = |bytes: &[u8]| {
                let room = OUTPUT.saturating_sub(output.len());
                output.extend_from_slice(&bytes[..bytes.len().min(room)]);
            };
            if pipe.as_ref().is_some_and(|fd| ready.readable(fd) && !chunk(fd, take)) {
                *pipe = None;
            }
        }
        if time >= self.deadline && !self.overdue {
            self.overdue = true;
            self.running.kill();
        }
        if !ready.readable(&self.running.socket()) || self.running.hear() {
            return false;
        }
        loop {
            match self.running.next_event() {
                Ok(Some(Event::Ended(ended))) => {
                    self.code = Some(i32::from(life::exit_code(ended.status)));
                }
                Ok(Some(Event::Init { .. } | Event::Terminal(_) | Event::Started)) => {}
                Ok(None) => break,
                // It was never executed.
                Err(error) => {
                    self.code = None;
                    self.output = crate::diag::chain(&error).into_bytes();
                    break;
                }
            }
        }
        if self.overdue {
            self.code = None;
        }
        // It has ended, and is only to be reaped.
        let _ = self.running.wait();
        true
    }
}
