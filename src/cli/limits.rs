//! Options about what steps may use of the machine, and the hosts they know.

use clap::Args;

use super::CliError;
use crate::limits::{Amount, CpuLimits, CpuTime, GroupLimits, Host, ProcessLimits, Ulimit};
use crate::size;

/// The period that a quota without one is of, in microseconds: the kernel's.
const PERIOD: u64 = 100_000;

/// Options about limits and hosts.
#[derive(Debug, Args)]
pub struct LimitArgs {
    /// The most memory that each step's processes use together
    #[arg(short, long, value_name = "SIZE")]
    memory: Option<String>,
    /// Memory and swap together; -1 for no limit [default: twice --memory]
    #[arg(long, value_name = "SIZE", requires = "memory", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// How many processes and threads a step may have at once
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pids_limit: Option<u64>,
    /// How many processors' time a step may use, as 1.5
    #[arg(long, value_name = "N", conflicts_with_all = ["cpu_quota", "cpu_period"])]
    cpus: Option<f64>,
    /// Microseconds of processor time in each period
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1000..))]
    cpu_quota: Option<u64>,
    /// The length of a period in microseconds [default: 100000]
    #[arg(long, value_name = "N", requires = "cpu_quota", value_parser = clap::value_parser!(u64).range(1000..=1_000_000))]
    cpu_period: Option<u64>,
    /// A step's weight against other work of the machine; 1024 is usual
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// The processors that steps run on, as 0-3,5
    #[arg(long, value_name = "LIST")]
    cpuset_cpus: Option<String>,
    /// The cgroup below which each step gets its own
    #[arg(long, value_name = "CGROUP")]
    cgroup_parent: Option<String>,
    /// The size of /dev/shm [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// A limit of each process, as nofile=1024:2048
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<String>,
    /// A name that steps can look up; host-gateway is this machine
    #[arg(long, value_name = "NAME:ADDRESS")]
    add_host: Vec<String>,
}

impl LimitArgs {
    /// What the options come to.
    pub fn read(&self) -> Result<ProcessLimits, CliError> {
        Ok(ProcessLimits {
            group: GroupLimits {
                memory: size("--memory", self.memory.as_deref())?,
                memory_swap: self.memory_swap()?,
                processes: self.pids_limit,
                cpu: CpuLimits { time: self.cpu_time()?, shares: self.cpu_shares, set: self.cpu_set()? },
                parent: self.parent()?,
            },
            ulimits: ulimits(&self.ulimit)?,
            shm_size: size("--shm-size", self.shm_size.as_deref())?,
            hosts: self.hosts()?,
        })
    }

    fn memory_swap(&self) -> Result<Option<Amount>, CliError> {
        let Some(memory) = size("--memory", self.memory.as_deref())? else { return Ok(None) };
        let swap = match self.memory_swap.as_deref() {
            None => return Ok(Some(Amount::AtMost(memory.saturating_mul(2)))),
            Some("-1") => return Ok(Some(Amount::Unlimited)),
            given => size("--memory-swap", given)?.unwrap_or(memory),
        };
        if swap < memory {
            return Err(CliError::Usage(
                "--memory-swap is memory and swap together, so it cannot be less than --memory".into(),
            ));
        }
        Ok(Some(Amount::AtMost(swap)))
    }

    fn cpu_time(&self) -> Result<Option<CpuTime>, CliError> {
        let period = self.cpu_period.unwrap_or(PERIOD);
        let Some(cpus) = self.cpus else {
            return Ok(self.cpu_quota.map(|quota| CpuTime { quota, period }));
        };
        if !(0.01..=65_536.0).contains(&cpus) {
            return Err(CliError::Usage(format!("--cpus {cpus}: expected a number from 0.01 to 65536")));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        let quota = (cpus * 100_000.0).round() as u64;
        Ok(Some(CpuTime { quota, period }))
    }

    fn cpu_set(&self) -> Result<Option<String>, CliError> {
        let Some(text) = &self.cpuset_cpus else { return Ok(None) };
        let number = |text: &str| text.parse::<u16>().is_ok();
        let part = |part: &str| part.split_once('-').map_or(number(part), |(a, b)| number(a) && number(b));
        if !text.split(',').all(part) {
            return Err(CliError::Usage(format!("--cpuset-cpus {text}: expected a list as 0-3,5")));
        }
        Ok(Some(text.clone()))
    }

    fn parent(&self) -> Result<Option<String>, CliError> {
        let Some(text) = &self.cgroup_parent else { return Ok(None) };
        let names: Vec<&str> = text.split('/').filter(|name| !name.is_empty()).collect();
        if names.is_empty() || names.iter().any(|name| matches!(*name, "." | "..")) {
            return Err(CliError::Usage(format!(
                "--cgroup-parent {text}: expected a path from the root of the hierarchy, as /builds"
            )));
        }
        Ok(Some(names.join("/")))
    }

    fn hosts(&self) -> Result<Vec<Host>, CliError> {
        let host = |text: &String| {
            text.parse().map_err(|error| CliError::Usage(format!("--add-host {text}: {error}")))
        };
        self.add_host.iter().map(host).collect()
    }
}

/// What options `--ulimit` come to. Of several for one resource the last counts.
pub fn ulimits(texts: &[String]) -> Result<Vec<Ulimit>, CliError> {
    let mut all: Vec<Ulimit> = Vec::new();
    for text in texts {
        let one: Ulimit =
            text.parse().map_err(|error| CliError::Usage(format!("--ulimit {text}: {error}")))?;
        all.retain(|known| known.resource != one.resource);
        all.push(one);
    }
    all.sort_by_key(|ulimit| ulimit.resource);
    Ok(all)
}

fn size(option: &str, text: Option<&str>) -> Result<Option<u64>, CliError> {
    let Some(text) = text else { return Ok(None) };
    match size::bytes(text) {
        None | Some(0) => Err(CliError::Usage(format!("{option} {text}: expected a size, as 64m or 1.5g"))),
        some => Ok(some),
    }
}
