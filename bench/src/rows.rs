//! The rows of the first table: one kind of request each, on every server in turn.

use crate::cases::{Case, Cases};
use crate::load::{Load, Run};
use crate::processes::{Folder, Server, Setup};
use crate::side::Side;
use crate::usage::median;
use crate::{Options, Outcome};

/// What has to be reached.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Requests a second, as a share of the bare handler's.
    Ratio(Side, f64),
    /// CPU of weir for a request, in microseconds.
    Cpu(f64),
    /// CPU of weir for a request, in times of what `serde_json` takes for the same rows.
    Serde(f64),
    /// Half of the answers, in times of the bare handler's.
    P50(f64),
}

/// A row to be measured.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) id: &'static str,
    pub(crate) work: &'static str,
    case: &'static str,
    pub(crate) connections: u32,
    goals: &'static [Goal],
    sides: &'static [Side],
}

impl Plan {
    /// The share of the bare handler's requests that a side has to reach, if there is such a goal.
    pub(crate) fn goal_ratio(&self, side: Side) -> Option<f64> {
        self.goals.iter().find_map(|goal| match goal {
            Goal::Ratio(of, least) if *of == side => Some(*least),
            _ => None,
        })
    }
}

const HOT: &[Goal] = &[Goal::Ratio(Side::Weir, 0.85), Goal::Ratio(Side::Logged, 0.70)];
const TEXT: &[Goal] = &[Goal::Cpu(50.0)];
const VARIABLES: &[Goal] = &[Goal::Ratio(Side::Weir, 0.40), Goal::Cpu(40.0)];
const ALL: &[Side] = &[Side::Weir, Side::Bare, Side::Logged, Side::Plain];
const UNLOGGED: &[Side] = &[Side::Weir, Side::Bare, Side::Plain];

const fn plan(
    id: &'static str,
    work: &'static str,
    case: &'static str,
    connections: u32,
    goals: &'static [Goal],
    sides: &'static [Side],
) -> Plan {
    Plan { id, work, case, connections, goals, sides }
}

const PLANS: [Plan; 9] = [
    plan("hot-small-16", "identical hot query, 30 points", "hot-small", 16, HOT, ALL),
    plan("hot-small-64", "identical hot query, 30 points", "hot-small", 64, HOT, ALL),
    plan("hot-large-16", "identical hot query, 1,440 points", "hot-large", 16, HOT, ALL),
    plan("hot-large-64", "identical hot query, 1,440 points", "hot-large", 64, HOT, ALL),
    plan("text-small", "new query text over hot data, 30 points", "text-small", 16, TEXT, UNLOGGED),
    plan("variables-small", "new variables over hot data, 30 points", "variables-small", 16, VARIABLES, UNLOGGED),
    plan(
        "text-large",
        "new query over hot data, 1,440 points",
        "text-large",
        16,
        &[Goal::Ratio(Side::Weir, 0.25), Goal::Cpu(250.0)],
        UNLOGGED,
    ),
    plan(
        "text-huge",
        "new query over hot data, 14,400 points",
        "text-huge",
        16,
        &[Goal::Cpu(3_000.0), Goal::Serde(2.0)],
        UNLOGGED,
    ),
    plan("one", "one connection, hot, 30 points", "hot-small", 1, &[Goal::P50(1.3)], UNLOGGED),
];

/// A measured row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) plan: &'static Plan,
    pub(crate) sides: Vec<(Side, Measured)>,
    pub(crate) goals: Vec<Judged>,
}

/// Medians over the rounds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Measured {
    pub(crate) run: Run,
    /// Requests a second as a share of the bare handler's in the same round.
    pub(crate) ratio: f64,
}

/// A goal and whether it was reached.
#[derive(Debug, Clone)]
pub(crate) struct Judged {
    pub(crate) goal: String,
    pub(crate) found: String,
    pub(crate) reached: bool,
}

impl Row {
    pub(crate) fn side(&self, side: Side) -> Option<&Measured> {
        self.sides.iter().find(|(known, _)| *known == side).map(|(_, measured)| measured)
    }
}

/// The servers of the first table and what is asked of them.
#[derive(Debug)]
pub(crate) struct Bench {
    weir: Server,
    logged: Server,
    bare: Server,
    plain: Server,
    pub(crate) cases: Cases,
    /// What `serde_json` takes to write 14,400 rows.
    pub(crate) serde_us: f64,
}

impl Bench {
    pub(crate) fn start(folder: &Folder) -> Outcome<Self> {
        let weir = Server::weir(folder, &Setup::new("weir"))?;
        let logged = Server::weir(folder, &Setup { access_log: true, ..Setup::new("logged") })?;
        let cases = Cases::capture(folder, &weir)?;
        // The same rows in the same slices.
        Cases::capture(folder, &logged)?;
        let bare = Server::yardstick("bare", &cases.captured)?;
        let plain = Server::yardstick("plain", &cases.rows)?;
        let serde_us = cases.serde_us("text-huge")?;
        Ok(Self { weir, logged, bare, plain, cases, serde_us })
    }

    fn server(&self, side: Side) -> &Server {
        match side {
            Side::Weir => &self.weir,
            Side::Logged => &self.logged,
            Side::Bare => &self.bare,
            Side::Plain => &self.plain,
        }
    }

    fn run(&self, plan: &Plan, side: Side, seconds: u32) -> Outcome<Run> {
        run(self.server(side), side, self.cases.case(plan.case)?, plan.connections, seconds)
    }
}

/// One run between two checks of single answers.
pub(crate) fn run(server: &Server, side: Side, case: &Case, connections: u32, seconds: u32) -> Outcome<Run> {
    // Numbers that no run of wrk uses: those begin at a million.
    let mut connection = server.connect()?;
    let mut length = 0;
    for number in 1..=5 {
        length = case.check(&mut connection, side, number)?;
    }
    let load = Load { template: &case.file, minutes: case.minutes, connections, seconds, length };
    let run = load.run(server, &side.path(case.id)).map_err(|error| format!("{} on {side:?}: {error}", case.id))?;
    case.check(&mut connection, side, 6)?;
    Ok(run)
}

/// Measures the rows that are wanted.
pub(crate) fn measure(bench: &Bench, options: &Options) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    for plan in PLANS.iter().filter(|plan| options.wants(plan.id)) {
        eprintln!("{} at {} connections", plan.work, plan.connections);
        for side in plan.sides {
            bench.run(plan, *side, 1)?;
        }
        let mut rounds: Vec<Vec<(Side, Run)>> = Vec::new();
        for round in 0..options.rounds() {
            let mut sides = plan.sides.to_vec();
            sides.rotate_left(round % plan.sides.len());
            let run = |side: Side| Ok((side, bench.run(plan, side, options.seconds)?));
            rounds.push(sides.into_iter().map(run).collect::<Outcome<_>>()?);
        }
        let sides: Vec<_> = plan.sides.iter().map(|side| (*side, medians(&rounds, *side))).collect();
        let judge = |goal: &Goal| judge(*goal, &sides, bench.serde_us);
        rows.push(Row { plan, goals: plan.goals.iter().map(judge).collect(), sides });
    }
    Ok(rows)
}

fn medians(rounds: &[Vec<(Side, Run)>], side: Side) -> Measured {
    let of = |round: &Vec<(Side, Run)>, side| round.iter().find(|(known, _)| *known == side).map(|(_, run)| *run);
    let runs: Vec<Run> = rounds.iter().filter_map(|round| of(round, side)).collect();
    let ratio = |round| Some(of(round, side)?.rate / of(round, Side::Bare)?.rate);
    Measured {
        run: Run {
            rate: median(runs.iter().map(|run| run.rate)),
            cpu_us: median(runs.iter().map(|run| run.cpu_us)),
            p50_us: median(runs.iter().map(|run| run.p50_us)),
            p99_us: median(runs.iter().map(|run| run.p99_us)),
        },
        ratio: median(rounds.iter().filter_map(ratio)),
    }
}

fn judge(goal: Goal, sides: &[(Side, Measured)], serde_us: f64) -> Judged {
    let of = |side| sides.iter().find(|(known, _)| *known == side).map(|(_, measured)| *measured).unwrap_or_default();
    let (weir, bare) = (of(Side::Weir), of(Side::Bare));
    let (goal, found, reached) = match goal {
        Goal::Ratio(side, least) => {
            let log = if side == Side::Logged { " with the log" } else { "" };
            let ratio = of(side).ratio;
            (format!("≥ {:.0} % of bare{log}", least * 100.0), format!("{:.0} %", ratio * 100.0), ratio >= least)
        }
        Goal::Cpu(most) => (format!("≤ {most:.0} µs CPU"), time(weir.run.cpu_us), weir.run.cpu_us <= most),
        Goal::Serde(most) => {
            let times = weir.run.cpu_us / serde_us;
            (format!("≤ {most} × serde_json"), format!("{times:.1} ×"), times <= most)
        }
        Goal::P50(most) => {
            let times = weir.run.p50_us / bare.run.p50_us;
            (format!("p50 ≤ {most} × bare"), format!("{times:.2} ×"), times <= most)
        }
    };
    Judged { goal, found, reached }
}

/// A time in the unit that suits it.
pub(crate) fn time(us: f64) -> String {
    match us {
        us if us < 100.0 && us.fract() != 0.0 => format!("{us:.1} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us => format!("{:.2} ms", us / 1_000.0),
    }
}
