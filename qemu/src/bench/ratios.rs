//! Figures that exist in time only, as ratios: booting, and what several CPUs do.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::thread;

use super::figures::{BOOT, BOOT_RATIO, Pair, Ratios, SCALING, SCALING_OF_HOST};
use super::lines::{self, Point};
use super::machines::Session;
use super::peer::{Peer, Setup};
use crate::error::Error;
use crate::machine::Accelerator;

/// How often boot and scaling are measured; the median counts.
const REPETITIONS: usize = 5;

/// What two machines at once get of an idle host with two CPUs, at least, over what one gets alone.
const IDLE_HOST: f64 = 1.86;

/// How often the scaling is measured, all told, on a host that is not idle.
const ATTEMPTS: u32 = 4;

/// What the scaling is measured with, but for the number of threads.
const SCALING_ARGUMENTS: &str = "--iterations=4000 --warmup=500 --mode=boot --format=json";

/// How the first line begins that a user program prints: the root task's greeting.
const ROOT_TASK_MARK: &str = "MOE";

/// What the first program of the Linux guest prints first.
const LINUX_MARK: &str = "PEER START";

/// CPUs of the runs in time.
pub(super) const CPUS: u32 = 2;

/// Most clients of the report's plot, on so many CPUs; the host has to have as many.
const MOST_CLIENTS: u32 = 8;

/// The images of the main job, with one client, two, and so on.
pub(super) type Clients = Vec<PathBuf>;

impl Session<'_> {
    /// Builds these images: two of them, or as many as the host can run at once.
    pub(super) fn build_clients(&self, is_report: bool) -> Result<Clients, Error> {
        let cpus = std::thread::available_parallelism()
            .map_or(CPUS, |cpus| u32::try_from(cpus.get()).unwrap_or(MOST_CLIENTS));
        let most = if is_report {
            cpus.clamp(CPUS, MOST_CLIENTS)
        } else {
            CPUS
        };
        let build = |threads| {
            let arguments = format!("--threads={threads} {SCALING_ARGUMENTS}");
            Ok(self.build("modules.list", "aerie", &arguments)?.image)
        };
        (1..=most).map(build).collect()
    }

    /// The figures that are ratios; the times to boot and the throughputs go to `timed` as well.
    pub(super) fn ratios(
        &self,
        clients: &[PathBuf],
        peer: Option<&Peer>,
        timed: &mut Pair,
    ) -> Result<Ratios, Error> {
        let mut ratios = Ratios::new();
        let Some(one) = clients.first() else {
            return Ok(ratios);
        };
        if let Some(peer) = peer
            && let Some((aerie, linux)) = self.attempt(self.boot_times(one, peer))?
        {
            ratios.insert(BOOT_RATIO.to_owned(), aerie / linux);
            timed.aerie.figures.insert(BOOT.to_owned(), aerie);
            timed.linux.figures.insert(BOOT.to_owned(), linux);
        }
        let mut factors = self.attempt(self.scaling(clients))?;
        if let Some(apart) = factors.pop() {
            ratios.insert(SCALING_OF_HOST.to_owned(), apart);
        }
        for (clients, factor) in (1..).zip(&factors) {
            timed.aerie.points.push(Point {
                series: "scaling".into(),
                line: "Aerie".into(),
                x: f64::from(clients),
                y: *factor,
            });
        }
        if let Some(factor) = factors.get(1) {
            ratios.insert(SCALING.to_owned(), *factor);
        }
        Ok(ratios)
    }

    /// Milliseconds from QEMU's start to the first line of a user program, Aerie's and Linux's, taken alternately.
    fn boot_times(&self, image: &Path, peer: &Peer) -> Result<Option<(f64, f64)>, Error> {
        let is_aerie = |line: &str| line.starts_with(ROOT_TASK_MARK);
        let is_linux = |line: &str| line.contains(LINUX_MARK);
        let (mut aerie, mut linux) = (Vec::new(), Vec::new());
        for _ in 0..REPETITIONS {
            let machine = self.aerie(image, Accelerator::Tcg, CPUS);
            aerie.push(self.time_to(&machine, "aerie-boot", is_aerie)?);
            let machine = peer.machine(self.qemu, Setup::BootOnly, Accelerator::Tcg, CPUS);
            linux.push(self.time_to(&machine, Setup::BootOnly.name(), is_linux)?);
        }
        Ok(lines::median(aerie).zip(lines::median(linux)))
    }

    /// As [`Self::scaling_once`], again while others keep the host busy. The attempt counts in which two machines at once got most:
    /// what Aerie did has no part in the choice.
    fn scaling(&self, images: &[PathBuf]) -> Result<Vec<f64>, Error> {
        let mut idlest = self.scaling_once(images)?;
        for _ in 1..ATTEMPTS {
            let host = of_host(&idlest);
            if host >= IDLE_HOST {
                break;
            }
            println!(
                "two machines at once do {host:.2} times what one does alone, on an idle host {IDLE_HOST} or more: measuring again"
            );
            idlest = idler(idlest, self.scaling_once(images)?);
        }
        Ok(idlest)
    }

    /// Throughput of one client, two and so on over that of one, in medians; the last is that of two machines with one client each
    /// that run at once, which nothing but the host connects. Each round measures all of them, so that a host that changes its
    /// speed changes all.
    fn scaling_once(&self, images: &[PathBuf]) -> Result<Vec<f64>, Error> {
        let mut rounds = Vec::new();
        for _ in 0..REPETITIONS {
            let throughput = |(clients, image): (u32, &PathBuf)| {
                self.throughput(image, clients.max(CPUS), &format!("aerie-{clients}-clients"))
            };
            let mut round: Vec<f64> = (1..).zip(images).map(throughput).collect::<Result<_, Error>>()?;
            round.push(self.throughput_apart(&images[0])?);
            rounds.push(round);
        }
        let factor = |at: usize| {
            let factors = rounds.iter().map(|round| round[at] / round[0]).collect();
            lines::median(factors).ok_or_else(|| Error::Failed("scaling was not measured".into()))
        };
        (0..=images.len()).map(factor).collect()
    }

    /// Invocations a second.
    fn throughput(&self, image: &Path, cpus: u32, name: &str) -> Result<f64, Error> {
        let console = self.run(&self.aerie(image, Accelerator::Tcg, cpus), name)?;
        lines::throughput(&console).map_err(|error| Error::Failed(format!("{name}: {error}")))
    }

    /// The same of two machines at once, together.
    fn throughput_apart(&self, image: &Path) -> Result<f64, Error> {
        let (project, qemu, folder, interrupt) = (self.project, self.qemu, &self.folder, &self.interrupt);
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                let session = Session {
                    project,
                    qemu,
                    folder: folder.clone(),
                    interrupt: interrupt.clone(),
                    problems: RefCell::default(),
                };
                session.throughput(image, CPUS, "aerie-apart-2")
            });
            let one = self.throughput(image, CPUS, "aerie-apart-1");
            let other = other
                .join()
                .map_err(|_| Error::Failed("a thread of the tool panicked".into()))?;
            Ok(one? + other?)
        })
    }
}

/// What an attempt says of the host.
fn of_host(factors: &[f64]) -> f64 {
    factors.last().copied().unwrap_or_default()
}

/// The attempt in which the host had more to give, the earlier one if it was the same.
fn idler(earlier: Vec<f64>, later: Vec<f64>) -> Vec<f64> {
    if of_host(&later) > of_host(&earlier) {
        later
    } else {
        earlier
    }
}

#[cfg(test)]
mod tests {
    use super::idler;

    #[test]
    fn the_host_alone_decides_which_attempt_counts() {
        let busy = vec![1.0, 1.9, 1.7];
        let idle = vec![1.0, 1.6, 1.88];
        assert_eq!(idler(busy.clone(), idle.clone()), idle);
        assert_eq!(idler(idle.clone(), busy), idle);
        assert_eq!(idler(idle.clone(), vec![1.0, 2.0, 1.88]), idle);
    }
}
