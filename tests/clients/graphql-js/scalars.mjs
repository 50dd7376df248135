// weir's own scalars for graphql-js: what they take in, told once more and not copied.
import { GraphQLError, isScalarType, isSpecifiedScalarType, Kind } from "graphql";

const DATE = /^(?<sign>[+-](?=\d{6}))?(?<year>\d{4}|\d{6})(?<dash>-?)(?<month>\d\d)\k<dash>(?<day>\d\d)/;
const TIME = /^[Tt ](?<hour>\d\d)(?:(?<colon>:?)(?<minute>\d\d)(?:\k<colon>(?<second>\d\d)(?:[.,]\d{1,9})?)?)?/;
const OFFSET = /^(?:[Zz]|[+-](?<hours>\d\d)(?:(?<mark>:?)(?<minutes>\d\d)(?:\k<mark>(?<seconds>\d\d))?)?)$/;

/** Whether a text is `YYYY-MM-DD` and such a day was or will be. */
export function isDate(text) {
  const [, year, month, day] = /^(\d{4})-(\d\d)-(\d\d)$/.exec(text)?.map(Number) ?? [];
  return year !== undefined && month >= 1 && month <= 12 && day >= 1 && day <= daysOf(year, month);
}

function daysOf(year, month) {
  const february = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0) ? 29 : 28;
  return [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1];
}

/** Whether a text is an instant: a date, a time and an offset. */
export function isDateTime(text) {
  const date = DATE.exec(text);
  const time = date && TIME.exec(text.slice(date[0].length));
  const offset = time && OFFSET.exec(text.slice(date[0].length + time[0].length));
  if (!offset) return false;
  const year = Number(date.groups.year) * (date.groups.sign === "-" ? -1 : 1);
  const [month, day] = [Number(date.groups.month), Number(date.groups.day)];
  // The last day of the calendar, in every zone.
  if (year === 9999 && month === 12 && day > 30) return false;
  const fits = (value, most) => Number(value ?? 0) <= most;
  return (
    (date.groups.year.length === 6) === (date.groups.sign !== undefined) &&
    year >= -9998 && year <= 9999 &&
    month >= 1 && month <= 12 && day >= 1 && day <= daysOf(year, month) &&
    fits(time.groups.hour, 23) && fits(time.groups.minute, 59) && fits(time.groups.second, 60) &&
    fits(offset.groups.hours, 25) && fits(offset.groups.minutes, 59) && fits(offset.groups.seconds, 59)
  );
}

const DURATION =
  /^P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)(?:[.,](\d{1,9}))?H)?(?:(\d+)(?:[.,](\d{1,9}))?M)?(?:(\d+)(?:[.,](\d{1,9}))?S)?)?$/i;
/** The most weeks and days that one duration may name, and seconds in hours, minutes and seconds: about. */
const MOST = [1_043_497, 7_304_484, 2e12];

/** Whether a text is a length of time without months and years, and not negative. */
export function isDuration(text) {
  const parts = DURATION.exec(text);
  if (!parts || text.length < 3) return false;
  const [, years, months, weeks, days, hours, hourPart, minutes, minutePart, seconds] = parts;
  // Only the last unit may have a fraction.
  if (hourPart && (minutes ?? seconds) !== undefined) return false;
  if (minutePart && seconds !== undefined) return false;
  // Without a fixed length.
  if (Number(years ?? 0) !== 0 || Number(months ?? 0) !== 0) return false;
  const number = (part) => Number(part ?? 0);
  const time = number(hours) * 3_600 + number(minutes) * 60 + number(seconds);
  return [number(weeks), number(days), time].every((part, i) => part <= MOST[i]);
}

const LONGEST = 2n ** 63n;

/** Whether a literal or a JSON number is a whole number of 64 bits. */
function isLong(digits) {
  const value = BigInt(digits);
  return value >= -LONGEST && value < LONGEST;
}

function textual(name, isValid) {
  const check = (value) => {
    if (typeof value !== "string" || !isValid(value)) throw new GraphQLError(`${name} cannot represent ${JSON.stringify(value)}`);
    return value;
  };
  return {
    serialize: (value) => value,
    parseValue: check,
    parseLiteral(node) {
      if (node.kind !== Kind.STRING) throw new GraphQLError(`${name} cannot represent a ${node.kind}`, { nodes: node });
      return check(node.value);
    },
  };
}

const BEHAVIOUR = {
  Date: textual("Date", isDate),
  DateTime: textual("DateTime", isDateTime),
  Duration: textual("Duration", isDuration),
  Long: {
    serialize: (value) => value,
    parseValue(value) {
      if (!Number.isInteger(value) || !isLong(value)) throw new GraphQLError(`Long cannot represent ${JSON.stringify(value)}`);
      return value;
    },
    parseLiteral(node) {
      if (node.kind !== Kind.INT || !isLong(node.value)) throw new GraphQLError("Long cannot represent the value", { nodes: node });
      return Number(node.value);
    },
  },
};

/** Gives the scalars of a schema their behaviour; one that is not known here is an error. */
export function teachScalars(schema) {
  for (const type of Object.values(schema.getTypeMap())) {
    if (!isScalarType(type) || isSpecifiedScalarType(type)) continue;
    if (!BEHAVIOUR[type.name]) throw new Error(`the scalar ${type.name} is not known to scalars.mjs`);
    Object.assign(type, BEHAVIOUR[type.name]);
  }
  return schema;
}
