// What arguments can mean on the server: its channels and applications, and ranges around its own now.
import { Word } from "./ast.mjs";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** An instant as weir writes it. */
const iso = (ms) => new Date(ms).toISOString().replace(".000Z", "Z");

export async function learnFacts(server) {
  const data = await server.data("{ channels { custSpaceId } applications { appId } }");
  const channels = data.channels.map((channel) => channel.custSpaceId).filter((id) => id !== null);
  const apps = data.applications.map((app) => app.appId);
  const asked = `{ operationDistribution(appId: ${JSON.stringify(apps[0])}, range: {last: "PT1H"}) { end } }`;
  const now = Date.parse((await server.data(asked)).operationDistribution.end);
  return new Facts(channels, apps, now);
}

export class Facts {
  constructor(channels, apps, now) {
    Object.assign(this, { channels, apps, now, phones: [], cursors: [] });
    this.midnight = Math.floor(now / DAY) * DAY;
  }

  /** The days from `first` to before `last`, counted back from today. */
  days(first, last, hours = 0) {
    return { between: { start: iso(this.midnight - first * DAY), end: iso(this.midnight - last * DAY + hours * HOUR) } };
  }

  /** Arguments of a field that can be answered; with `failing`, sometimes ones that cannot. `null` where nothing is
   * known of the field. Few different ranges: the vendor grants two calls a second. */
  args(parent, field, rng, failing) {
    const maker = MAKERS[`${parent}.${field}`];
    return maker ? maker(this, rng, failing) : null;
  }
}

/** Adds one of these with a chance, or leaves the argument out. */
function maybe(args, name, rng, chance, values) {
  if (rng.chance(chance)) args[name] = rng.pick(values);
  return args;
}

const fails = (rng, failing) => failing && rng.chance(0.12);

function metricArgs(facts, rng, failing) {
  const halfHours = rng.chance(0.25);
  const args = {};
  if (halfHours) args.granularity = new Word("HALF_HOUR");
  else maybe(args, "granularity", rng, 0.3, [new Word("DAILY")]);
  const ranges = halfHours ? [facts.days(6, 6, 2), facts.days(5, 5, 1)] : [facts.days(8, 5), facts.days(6, 5), { last: "P2D" }, { last: "PT72H" }];
  args.range = rng.pick(ranges);
  if (fails(rng, failing)) args.range = rng.pick([facts.days(5, 8), { last: "PT0S" }, facts.days(9_000, 5)]);
  return args;
}

function distributionArgs(facts, rng, failing) {
  const args = rng.chance(0.25)
    ? { dimension: new Word("COUNTRY"), range: facts.days(5, 4) }
    : maybe({ range: rng.pick([facts.days(5, 4), facts.days(4, 3)]) }, "dimension", rng, 0.4, [new Word("PROVINCE")]);
  if (fails(rng, failing)) args.range = rng.pick([facts.days(12, 2), facts.days(4, 5), facts.days(40, 39), { last: "P9D" }]);
  return args;
}

/** Ids that nobody has; they come back in the words of the error. */
const NOBODY = ["nobody", "", "app 名", "\u{1f600}", '"quoted"\n', 'a"""b', "two\n  lines\nand three", "back\\slash", "a  b, #c", 7, -1];
const appId = (facts, rng, failing) => rng.pick(fails(rng, failing) ? NOBODY : facts.apps);
const channelId = (facts, rng, failing) => rng.pick(fails(rng, failing) ? NOBODY : facts.channels);
const truth = (rng) => rng.chance(0.5);

const deprecated = (_, rng) => maybe({}, "includeDeprecated", rng, 0.6, [true, false]);

const MAKERS = {
  "Query.phoneNumberMetrics"(facts, rng, failing) {
    const args = metricArgs(facts, rng, failing);
    if (!fails(rng, failing)) args.custSpaceId = channelId(facts, rng, failing);
    const phones = facts.phones.length ? facts.phones : ["8613484038900"];
    maybe(args, "phoneNumbers", rng, 0.3, [[], null, [rng.pick(phones)], [rng.pick(phones), rng.pick(phones)], ["0", `+${rng.pick(phones)}`]]);
    if (fails(rng, failing)) args.phoneNumbers = rng.pick([["none"], [""], [rng.pick(phones), "名"]]);
    maybe(args, "first", rng, 0.6, [0, 1, 2, 3, 5, 100, null]);
    if (fails(rng, failing)) args.first = rng.pick([-1, 100_001, 2_147_483_647, -2_147_483_648]);
    maybe(args, "after", rng, 0.05, [null]);
    if (fails(rng, failing)) args.after = rng.pick(["nonsense", "", "名"]);
    if (facts.cursors.length && rng.chance(0.15)) {
      const found = rng.pick(facts.cursors);
      return { ...found.args, after: found.cursor };
    }
    return args;
  },
  "Query.operationDistribution": (facts, rng, failing) => ({ appId: appId(facts, rng, failing), ...distributionArgs(facts, rng, failing) }),
  "Query.operationDistributionBounds"(facts, rng, failing) {
    const args = { appId: appId(facts, rng, failing), range: facts.days(11, 2) };
    maybe(args, "dimension", rng, 0.4, [new Word("PROVINCE")]);
    if (fails(rng, failing)) args.range = rng.pick([facts.days(4, 5), facts.days(40, 39), facts.days(9_000, 2)]);
    return args;
  },
  "Query.operationDistributions"(facts, rng, failing) {
    const args = rng.pick([
      { range: facts.days(5, 3) },
      { range: facts.days(5, 3), window: "P1D" },
      { range: facts.days(5, 3), window: "PT24H", dimension: new Word("PROVINCE") },
      { range: facts.days(5, 4), dimension: new Word("COUNTRY") },
    ]);
    maybe(args, "appIds", rng, 0.7, [[], null, facts.apps, [rng.pick(facts.apps)]]);
    // One window that is forgotten beside one that is not; too many windows; no windows of the calendar.
    if (fails(rng, failing)) args.range = rng.pick([facts.days(30, 28), facts.days(32, 30), facts.days(3, 5)]);
    if (fails(rng, failing)) args.window = rng.pick(["PT1S", "PT0S", "P8D", "PT0.5S"]);
    if (fails(rng, failing)) args.appIds = rng.pick([["nobody"], [facts.apps[0], ""]]);
    return args;
  },
  "Query.channel": (facts, rng, failing) => ({ custSpaceId: channelId(facts, rng, failing) }),
  "Query.application": (facts, rng, failing) => ({ appId: appId(facts, rng, failing) }),
  "Channel.metrics"(facts, rng, failing) {
    const args = metricArgs(facts, rng, failing);
    maybe(args, "phoneNumber", rng, 0.2, [null, ...facts.phones.slice(0, 2), "0"]);
    if (fails(rng, failing)) args.phoneNumber = rng.pick(["", "none"]);
    return args;
  },
  "Application.distribution": distributionArgs,
  "Mutation.enableWhatsappRoiMetric"(facts, rng, failing) {
    const args = { custSpaceId: channelId(facts, rng, failing) };
    return maybe(args, "isvCode", rng, 0.5, ["code", "", null, "\u{1f600}\t\"\\"]);
  },
  "Query.__type": (_, rng) => ({ name: rng.pick(["Query", "PhoneNumberMetric", "TimeRange", "Interval", "Vendor", "Granularity", "OperationDistribution", "Nobody", ""]) }),
  "__Type.fields": deprecated,
  "__Type.enumValues": deprecated,
  "__Type.inputFields": deprecated,
  "__Field.args": deprecated,
  "__Directive.args": deprecated,
  "@include": (_, rng) => ({ if: truth(rng) }),
  "@skip": (_, rng) => ({ if: truth(rng) }),
};
