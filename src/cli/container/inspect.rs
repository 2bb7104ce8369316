//! `lith inspect`: containers, then images, in docker's JSON shape.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::containers;
use crate::cli::session::Need;
use crate::cli::template::Template;
use crate::cli::{CliError, find as images, inspect, out};
use crate::container::{Container, ContainerError, Health, MountSource, Status, find, life, log, volumes};
use crate::sandbox::spec::Net;
use crate::store::{Containers, StoreError};

/// Arguments of `lith inspect`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  lith inspect web\n  lith inspect --format '{{.GraphDriver.Data.MergedDir}}' web"
)]
pub struct Inspect {
    /// json, or a template as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    format: Template,
    /// Only containers, or only images
    #[arg(long, value_name = "container|image")]
    r#type: Option<Kind>,
    /// Names or ids of containers or images
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    Container,
    Image,
}

impl Inspect {
    pub fn run(self, root: Option<&Path>) -> Result<(), CliError> {
        let (session, all) = containers(root, Need::Store)?;
        let mut shown = Vec::new();
        for name in &self.names {
            let container = match self.r#type {
                Some(Kind::Image) => None,
                _ => match find(&all, name) {
                    Ok(container) => Some(container),
                    Err(ContainerError::Unknown(_)) if self.r#type.is_none() => None,
                    Err(error) => return Err(error.into()),
                },
            };
            shown.push(match container {
                Some(container) => describe(&all, &container),
                None => {
                    let image = images::found(&session.store, name).map_err(|error| match error {
                        CliError::Store(StoreError::MissingImage(_)) if self.r#type.is_none() => {
                            CliError::Failed(format!("no such container or image: {name}"))
                        }
                        other => other,
                    })?;
                    inspect::describe(&session.store, &image)?
                }
            });
        }
        out::print(&self.format.objects(&shown)?);
        Ok(())
    }
}

const NEVER: &str = "0001-01-01T00:00:00Z";

fn describe(containers: &Containers, container: &Container) -> Value {
    let Container { id, name, config, state } = container;
    let run = &config.run;
    let (path, args) = config.program.argv.split_first().map_or(("", &[][..]), |(path, args)| (path, args));
    json!({
        "Id": id,
        "Created": config.created,
        "Path": path,
        "Args": args,
        "State": {
            "Status": state.status.name(),
            "Running": state.status == Status::Running,
            "Paused": false,
            "Restarting": false,
            "OOMKilled": state.out_of_memory,
            "Dead": state.status == Status::Dead,
            "Pid": state.process.map_or(0, |process| process.pid),
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": state.started.as_deref().unwrap_or(NEVER),
            "FinishedAt": state.finished.as_deref().unwrap_or(NEVER),
            "Health": state.health.as_ref().map(health),
        },
        "Image": config.image,
        "LogPath": log::path(containers, id),
        "Name": format!("/{name}"),
        "RestartCount": 0,
        "Driver": "overlay2",
        "Platform": "linux",
        "HostConfig": host_config(container),
        "GraphDriver": graph_driver(containers, container),
        "Mounts": config.mounts.iter().map(|mount| mount_point(containers, mount)).collect::<Vec<_>>(),
        "Config": {
            "Hostname": config.hostname,
            "User": run.user,
            "Tty": config.tty,
            "OpenStdin": config.open_stdin,
            "Env": config.program.env,
            "Cmd": run.cmd,
            "Image": config.image_name,
            "Volumes": run.volumes,
            "WorkingDir": config.program.cwd,
            "Entrypoint": run.entrypoint,
            "Labels": run.labels,
            "StopSignal": run.stop_signal,
            "Healthcheck": run.healthcheck,
            "ExposedPorts": run.exposed_ports,
        },
    })
}

fn health(health: &Health) -> Value {
    let probes = health.log.iter().map(|probe| {
        json!({ "Start": probe.start, "End": probe.end, "ExitCode": probe.exit_code, "Output": probe.output })
    });
    json!({
        "Status": health.status.name(),
        "FailingStreak": health.failing_streak,
        "Log": probes.collect::<Vec<_>>(),
    })
}

fn host_config(container: &Container) -> Value {
    let config = &container.config;
    let cpu = &config.limits.cpu;
    json!({
        "NetworkMode": match config.network { Net::Host => "host", Net::None => "none" },
        "AutoRemove": config.auto_remove,
        "ReadonlyRootfs": config.read_only,
        "Init": config.init,
        "Memory": config.limits.memory.unwrap_or(0),
        "PidsLimit": config.limits.processes,
        "CpuQuota": cpu.time.map_or(0, |time| time.quota),
        "CpuPeriod": cpu.time.map_or(0, |time| time.period),
        "CpuShares": cpu.shares.unwrap_or(0),
        "CpusetCpus": cpu.set.clone().unwrap_or_default(),
        "ShmSize": config.shm_size,
        "CapabilitiesEffective": config.capabilities.names(),
        "ExtraHosts": config.hosts.iter().map(|host| format!("{}:{}", host.name, host.address)).collect::<Vec<_>>(),
        "Ulimits": config.ulimits.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// docker's four directories: the container's layer, the `-init` layer and the image's below it, topmost first.
fn graph_driver(containers: &Containers, container: &Container) -> Value {
    let layers = containers.layers(&container.id);
    let lower: Vec<String> =
        life::lower_dirs(containers, &container.id).iter().map(|dir| dir.display().to_string()).collect();
    json!({
        "Name": "overlay2",
        "Data": {
            "LowerDir": lower.join(":"),
            "MergedDir": layers.merged(),
            "UpperDir": layers.writable().upper,
            "WorkDir": layers.writable().work,
        },
    })
}

fn mount_point(containers: &Containers, mount: &crate::container::MountPoint) -> Value {
    let (kind, name, source) = match &mount.source {
        MountSource::Bind(path) => ("bind", String::new(), path.display().to_string()),
        MountSource::Volume { name, .. } => {
            ("volume", name.clone(), volumes::data(containers, name).display().to_string())
        }
        MountSource::Tmpfs { .. } => ("tmpfs", String::new(), String::new()),
    };
    json!({
        "Type": kind, "Name": name, "Source": source, "Destination": mount.target, "RW": !mount.read_only,
        "Mode": if mount.read_only { "ro" } else { "" },
    })
}
