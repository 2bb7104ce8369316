//! What a shared cache costs a build that finds nothing in it, and what it saves one that finds all.

use std::fs;
use std::time::Instant;

use super::Bench;
use super::support::has;
use super::support::peer::{Make, Peer};

/// In turn, so that what else the machine does falls on all rows alike.
const ROUNDS: usize = 9;

/// What a row adds to a build in a store that has nothing but the base.
struct Row {
    what: &'static str,
    options: Vec<String>,
    seconds: Vec<f64>,
}

impl Bench {
    pub(super) fn shared(&self) {
        println!("\nW8 a shared cache at a registry, and 100 RUN steps");
        if !has("docker-registry") {
            return println!("  docker-registry                              (not installed)");
        }
        // No two the same: an entry keeps what came of a step on a few parents only.
        let steps: String = (0..100).map(|step| format!("RUN echo {step} >> /x\n")).collect();
        self.lab.write("shared/Dockerfile", format!("FROM localhost/base\n{steps}"));
        let dir = self.lab.path("registry");
        fs::create_dir_all(&dir).unwrap();
        let peer = Peer::start(Make::Distribution, &dir).unwrap();
        let place = |name: &str| {
            format!("type=registry,registry.insecure=true,ref={}", peer.name(&format!("bench/{name}")))
        };
        let from = |name: &str| vec!["--cache-from".to_owned(), place(name)];
        let fill = ["--cache-to".to_owned(), format!("{},mode=max", place("full"))];
        self.forget();
        let fill: Vec<&str> = fill.iter().map(String::as_str).collect();
        assert!(self.lith("shared", &fill).status().unwrap().success());
        let row = |what, options| Row { what, options, seconds: Vec::new() };
        let mut rows = [
            row("lith, cold, no cache", vec![]),
            row("lith, cold, --cache-from one that is empty", from("empty")),
            row("lith, empty store, --cache-from one that has all", from("full")),
        ];
        for round in 0..ROUNDS {
            for at in 0..rows.len() {
                // Forwards and backwards, so that what a row leaves behind falls on each of the others.
                let at = if round % 2 == 0 { at } else { rows.len() - 1 - at };
                let row = &mut rows[at];
                self.forget();
                let options: Vec<&str> = row.options.iter().map(String::as_str).collect();
                let began = Instant::now();
                assert!(self.lith("shared", &options).output().unwrap().status.success());
                row.seconds.push(began.elapsed().as_secs_f64());
            }
        }
        let median = |row: &Row| {
            let mut seconds = row.seconds.clone();
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        };
        let floor = median(&rows[0]);
        for row in &rows {
            println!("  {:<52} {:>8.3} s {:>7.3} × no cache", row.what, median(row), median(row) / floor);
        }
        // Each place is another, as what is there is not written again.
        let mut seconds: Vec<f64> = (0..3)
            .map(|round| {
                self.forget();
                let to = format!("{},mode=max", place(&format!("new{round}")));
                let began = Instant::now();
                assert!(self.lith("shared", &["--cache-to", &to]).output().unwrap().status.success());
                began.elapsed().as_secs_f64()
            })
            .collect();
        seconds.sort_by(f64::total_cmp);
        println!(
            "  {:<52} {:>8.3} s {:>7.3} × no cache",
            "lith, cold, --cache-to, all 100 records and layers",
            seconds[1],
            seconds[1] / floor
        );
    }
}
