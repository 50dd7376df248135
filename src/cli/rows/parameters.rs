//! The parameters of `/rows` as flags: the same names, with dashes. What their values mean is read where a gateway reads
//! them.

use clap::{Arg, ArgAction, ArgMatches, Command};

/// Parameters by their names, as a gateway takes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(pub Vec<(String, String)>);

/// How often a flag may be given, and whether it needs its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    One,
    Many,
    /// Without a value it is `true`.
    Switch,
}

struct Flag {
    name: &'static str,
    value: &'static str,
    takes: Takes,
    help: &'static str,
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, takes: Takes::One, help }
}

const fn repeated(name: &'static str, value: &'static str, help: &'static str) -> Flag {
    Flag { name, value, takes: Takes::Many, help }
}

const fn switch(name: &'static str, help: &'static str) -> Flag {
    Flag { name, value: "BOOL", takes: Takes::Switch, help }
}

const FLAGS: &[Flag] = &[
    flag("last", "DURATION", "The range, counted back from now, as an ISO 8601 duration [default: P7D]"),
    flag("start", "INSTANT", "The range's begin, with --end: RFC 3339 with an offset"),
    flag("end", "INSTANT", "The range's end, which is not inside it"),
    repeated("cust-space-id", "ID", "A channel; may be given several times, all configured ones without it"),
    repeated("phone-number", "PHONE", "A phone number; may be given several times"),
    repeated("app-id", "ID", "An application; may be given several times, all configured ones without it"),
    flag("granularity", "STEP", "The step of message counts: DAILY (the default) or HALF_HOUR"),
    flag("dimension", "PLACE", "The kind of place: PROVINCE (the default) or COUNTRY"),
    flag("window", "DURATION", "The length of a window of distinct users [default: P1D]"),
    repeated("by", "KEY", "What totals are kept apart by: CHANNEL, PHONE_NUMBER or both"),
    flag("period", "PERIOD", "What totals are of: HOUR, DAY, WEEK or MONTH; the whole range without it"),
    flag("time-zone", "ZONE", "In which zone periods begin, such as Asia/Shanghai; the channel's without it"),
    switch("fill", "Periods without messages have totals of zero"),
    flag("columns", "NAMES", "These columns, in this order, with commas between"),
    flag("limit", "N", "A page of so many rows at most; all rows without it"),
    flag("cursor", "CURSOR", "Go on with the page after this one; alone it keeps all that was asked"),
    flag("updated-since", "INSTANT", "Only rows that were fetched at or after this instant"),
    flag("freshness", "WORD", "ANY (the default), or FINAL_ONLY to leave out what may still change"),
    flag("max-stale", "DURATION", "How far past its time an answer may be"),
    flag("max-wait", "DURATION", "How long the pull waits for permits [default: queue.bulk_max_wait]"),
    flag("priority", "CLASS", "INTERACTIVE, BULK (the default) or BACKGROUND"),
    flag("align", "WORD", "exact: do not widen --start and --end of windows to whole hours"),
    switch("bom", "Mark CSV for Excel"),
];

impl Flag {
    fn arg(&self) -> Arg {
        let arg = Arg::new(self.name).long(self.name).value_name(self.value).help(self.help);
        let arg = arg.help_heading("Parameters");
        match self.takes {
            Takes::One => arg.action(ArgAction::Set),
            Takes::Many => arg.action(ArgAction::Append),
            Takes::Switch => {
                arg.action(ArgAction::Set).num_args(0..=1).default_missing_value("true").value_parser(["true", "false"])
            }
        }
    }

    /// Its name in a URL.
    fn parameter(&self) -> String {
        self.name.replace('-', "_")
    }
}

impl clap::Args for Parameters {
    fn augment_args(command: Command) -> Command {
        command.args(FLAGS.iter().map(Flag::arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Parameters {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let values = |flag: &Flag| {
            let values = matches.get_many::<String>(flag.name).into_iter().flatten();
            let name = flag.parameter();
            values.map(|value| (name.clone(), value.clone())).collect::<Vec<_>>()
        };
        Ok(Self(FLAGS.iter().flat_map(values).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Args as _, FromArgMatches as _};

    use super::*;
    use crate::domain::dataset::Dataset;

    fn read(args: &[&str]) -> Result<Parameters, clap::Error> {
        let matches =
            Parameters::augment_args(Command::new("rows")).try_get_matches_from([&["rows"], args].concat())?;
        Parameters::from_arg_matches(&matches)
    }

    #[test]
    fn every_parameter_of_every_dataset_is_a_flag_and_no_other_is() {
        let flags: BTreeSet<String> = FLAGS.iter().map(Flag::parameter).collect();
        let parameters = Dataset::ALL.into_iter().flat_map(Dataset::parameters).map(str::to_owned);
        assert_eq!(flags, parameters.collect::<BTreeSet<_>>());
        assert_eq!(flags.len(), FLAGS.len());
    }

    #[test]
    fn flags_become_parameters() {
        let args = ["--app-id", "b", "--fill", "--app-id", "a", "--time-zone=UTC", "--bom", "false"];
        let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let wanted = [("app_id", "b"), ("app_id", "a"), ("time_zone", "UTC"), ("fill", "true"), ("bom", "false")];
        assert_eq!(read(&args).unwrap().0, wanted.map(pair));
        assert!(read(&["--last", "P1D", "--last", "P2D"]).is_err(), "once is enough");
    }
}
