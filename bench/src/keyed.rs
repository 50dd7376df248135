//! What it costs to be asked for a key: a weir that asks beside one that does not, in turn.

use crate::cases::Cases;
use crate::load::Run;
use crate::processes::{Folder, KEY, Server, Setup};
use crate::rows::{run, time};
use crate::side::Side;
use crate::singles::{Single, single};
use crate::usage::median;
use crate::{Options, Outcome};

/// Of the CPU of a hot query, beside a weir that asks for none.
const MOST: f64 = 1.05;

/// Measures it if it is wanted.
pub(crate) fn measure(folder: &Folder, options: &Options) -> Outcome<Option<Single>> {
    if !options.wants("keyed") {
        return Ok(None);
    }
    eprintln!("a key");
    let open = Server::weir(folder, &Setup::new("open"))?;
    let keyed = Server::weir(folder, &Setup { key: Some(KEY), ..Setup::new("keyed") })?;
    let cases = Cases::capture(folder, &open)?;
    Cases::capture(folder, &keyed)?;
    let case = cases.case("hot-small")?;
    let mut runs = (Vec::new(), Vec::new());
    for round in 0..=options.rounds() {
        let mut both = [(&open, &mut runs.0), (&keyed, &mut runs.1)];
        // Neither is always the first.
        both.rotate_left(round % 2);
        for (server, runs) in both {
            runs.push(run(server, Side::Weir, case, 16, options.seconds)?);
        }
    }
    // The first round warms up. Each pair is of one moment, however busy the machine was in others.
    let cpu = |runs: &[Run]| median(runs[1..].iter().map(|run| run.cpu_us));
    let pairs = runs.0[1..].iter().zip(&runs.1[1..]);
    let times = median(pairs.map(|(open, keyed)| keyed.cpu_us / open.cpu_us));
    let work = format!(
        "CPU of the identical hot query, 30 points, by a caller who shows a key: {} instead of {}",
        time(cpu(&runs.1)),
        time(cpu(&runs.0))
    );
    Ok(Some(single(work, "≤ 1.05 × without keys", format!("{times:.2} ×"), times <= MOST)))
}
