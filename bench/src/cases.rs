//! What is asked: queries over rows that the vendor will not change any more, with exact numbers of rows.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Outcome;
use crate::client::{Answer, Connection};
use crate::processes::{CHANNEL, Folder, Server};
use crate::side::Side;
use crate::usage::own_cpu_us;

/// The half hours of the channel that are fetched once and then held.
const HELD: (&str, &str) = ("2025-03-01T00:00:00Z", "2025-05-15T00:00:00Z");
/// The six fields of each row.
const FIELDS: &str = "phoneNumber start end sentCount deliveredCount finality";
const HALF_HOUR_MS: i64 = 1_800_000;
/// What a number becomes in an answer that is compared whatever its number.
const ANY: &str = "000000000";

/// A row of an answer.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    pub(crate) phone_number: String,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) sent_count: i64,
    pub(crate) delivered_count: i64,
    pub(crate) finality: String,
}

/// One kind of request.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) id: &'static str,
    /// With placeholders where each request differs, see `wrk/post.lua`.
    pub(crate) template: String,
    pub(crate) file: PathBuf,
    pub(crate) minutes: (u32, u32),
    /// What weir answers, with [`ANY`] for the number.
    pub(crate) answer: Answer,
}

/// All kinds of requests, and all rows behind them.
#[derive(Debug)]
pub(crate) struct Cases {
    pub(crate) all: Vec<Case>,
    /// An answer of weir with every held row.
    pub(crate) rows: PathBuf,
    /// What the bare handler answers, by path.
    pub(crate) captured: PathBuf,
}

impl Case {
    /// The request with this number.
    pub(crate) fn request(&self, number: u64) -> String {
        const SPAN: u64 = 29 * 60_000;
        let clock = |base: u32, ms: u64| {
            let whole = u64::from(base) * 60_000 + 1 + ms;
            format!("{:02}:{:02}.{:03}", whole / 60_000, whole / 1_000 % 60, whole % 1_000)
        };
        self.template
            .replace("@N@", &format!("{number:09}"))
            .replace("@S@", &clock(self.minutes.0, number % SPAN))
            .replace("@E@", &clock(self.minutes.1, number / SPAN % SPAN))
    }

    /// Asks once and compares every byte with what weir answered first.
    pub(crate) fn check(&self, to: &mut Connection, side: Side, number: u64) -> Outcome<usize> {
        let answer = to.post(&side.path(self.id), &self.request(number))?;
        let number = format!("q{number:09}");
        let body = String::from_utf8_lossy(&answer.body).replace(&number, &format!("q{ANY}"));
        let whole = String::from_utf8_lossy(&self.answer.body);
        let expected = match side {
            // The plain server knows nothing of costs.
            Side::Plain => format!("{}}}", whole.split(",\"extensions\"").next().unwrap_or_default()),
            _ => whole.into_owned(),
        };
        if answer.status == 200 && body == expected {
            return Ok(answer.length);
        }
        // Answers of one query differ in what they cost, if at all: that stands at the end.
        let end = |text: &str| {
            text.get(text.floor_char_boundary(text.len().saturating_sub(300))..).unwrap_or_default().to_owned()
        };
        let (id, status) = (self.id, answer.status);
        Err(format!("{id}: {side:?} answers {status} … {} and not … {}", end(&body), end(&expected)).into())
    }
}

impl Cases {
    /// Fetches the rows through weir and captures what it answers to each case.
    pub(crate) fn capture(folder: &Folder, weir: &Server) -> Outcome<Self> {
        let everything = ask(&format!(
            "{{ phoneNumberMetrics(custSpaceId: {CHANNEL:?}, granularity: HALF_HOUR, first: 100000, \
             range: {{between: {{start: {:?}, end: {:?}}}}}) {{ nodes {{ {FIELDS} }} }} }}",
            HELD.0, HELD.1
        ));
        let everything = weir.post("/graphql", &everything)?;
        let rows = nodes(&everything.body)?;
        let by_phone = rows.iter().fold(BTreeMap::<&str, Vec<&Row>>::new(), |mut phones, row| {
            phones.entry(&row.phone_number).or_default().push(row);
            phones
        });
        let mut busiest: Vec<(&str, Vec<&Row>)> = by_phone.into_iter().collect();
        busiest.sort_by_key(|(_, rows)| std::cmp::Reverse(rows.len()));

        let (small, large) = (Span::of(&busiest[..1], 30)?, Span::of(&busiest[..1], 1_440)?);
        let huge = Span::of(&busiest[..10], 14_400)?;
        let hot = |span: &Span| ask(&format!("{{ {} }}", span.field(&span.range(false), "")));
        let text = |span: &Span| ask(&format!("{{ q@N@: {} }}", span.field(&span.range(false), ", first: 20000")));
        let variables = json!({
            "query": format!("query($range: TimeRange!) {{ {} }}", small.field("$range", "")),
            "variables": { "range": { "between": { "start": small.edges(true).0, "end": small.edges(true).1 } } },
        });
        let templates = [
            ("hot-small", hot(&small), &small),
            ("hot-large", hot(&large), &large),
            ("text-small", text(&small), &small),
            ("variables-small", variables.to_string(), &small),
            ("text-large", text(&large), &large),
            ("text-huge", text(&huge), &huge),
        ];
        let mut all = Vec::new();
        for (id, template, span) in templates {
            let file = folder.write(&format!("{id}.json"), &template)?;
            let mut case = Case { id, template, file, minutes: span.minutes(), answer: Answer::default() };
            let request = case.request(0);
            // Once to fetch, if anything is missing; once as it is from then on.
            weir.post("/graphql", &request)?;
            case.answer = weir.post("/graphql", &request)?;
            let n_rows = nodes(&case.answer.body)?.len();
            if n_rows != span.n_rows {
                return Err(format!("{id}: {n_rows} rows and not {}", span.n_rows).into());
            }
            all.push(case);
        }
        let captured: BTreeMap<_, _> = all.iter().map(|case| (case.id, Captured::of(&case.answer))).collect();
        Ok(Self {
            rows: folder.write("rows.json", &everything.body)?,
            captured: folder.write("captured.json", serde_json::to_string(&captured)?)?,
            all,
        })
    }

    pub(crate) fn case(&self, id: &str) -> Outcome<&Case> {
        Ok(self.all.iter().find(|case| case.id == id).ok_or_else(|| format!("there is no case {id}"))?)
    }

    /// CPU that `serde_json` takes to write the rows of an answer, in microseconds.
    pub(crate) fn serde_us(&self, id: &str) -> Outcome<f64> {
        const TIMES: u32 = 200;
        let rows = nodes(&self.case(id)?.answer.body)?;
        let rows: Vec<_> = rows.into_iter().map(Written::from).collect();
        let before = own_cpu_us()?;
        for _ in 0..TIMES {
            black_box(serde_json::to_vec(black_box(&rows))?);
        }
        Ok((own_cpu_us()? - before) / f64::from(TIMES))
    }
}

/// A row with its texts made: what remains is the writing.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    phone_number: String,
    start: String,
    end: String,
    sent_count: i64,
    delivered_count: i64,
    finality: String,
}

impl From<Row> for Written {
    fn from(row: Row) -> Self {
        let Row { phone_number, start, end, sent_count, delivered_count, finality } = row;
        Self { phone_number, start: start.to_string(), end: end.to_string(), sent_count, delivered_count, finality }
    }
}

/// A captured answer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Captured {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Captured {
    fn of(answer: &Answer) -> Self {
        // These two the server writes itself.
        let own = |name: &str| name == "content-length" || name == "date";
        let headers = answer.headers.iter().filter(|(name, _)| !own(name)).cloned().collect();
        Self { headers, body: String::from_utf8_lossy(&answer.body).into_owned() }
    }
}

/// Some phones over a range with an exact number of rows.
struct Span {
    phones: Vec<String>,
    n_rows: usize,
    /// The first row's start.
    first: Timestamp,
    /// The last row's start.
    last: Timestamp,
}

impl Span {
    /// The earliest range of these phones with so many rows.
    fn of(phones: &[(&str, Vec<&Row>)], n_rows: usize) -> Outcome<Self> {
        let mut starts: Vec<Timestamp> = phones.iter().flat_map(|(_, rows)| rows.iter().map(|row| row.start)).collect();
        starts.sort_unstable();
        let ends_between = |at: usize| starts.get(at).is_none_or(|next| *next > starts[at - 1]);
        // Not the first: the range may begin a little before its first row.
        let begins = (1..starts.len().saturating_sub(n_rows)).find(|at| ends_between(*at) && ends_between(at + n_rows));
        let begins = begins.ok_or_else(|| format!("no range has exactly {n_rows} rows"))?;
        let phones = phones.iter().map(|(phone, _)| (*phone).to_owned()).collect();
        Ok(Self { phones, n_rows, first: starts[begins], last: starts[begins + n_rows - 1] })
    }

    /// Both edges lie within the half hour before a row's start, so that they move without another row between them.
    fn edges(&self, moving: bool) -> (String, String) {
        let before = Timestamp::from_millisecond(self.first.as_millisecond() - HALF_HOUR_MS).unwrap_or(self.first);
        if moving {
            let hour = |at: Timestamp| at.strftime("%Y-%m-%dT%H:").to_string();
            return (format!("{}@S@Z", hour(before)), format!("{}@E@Z", hour(self.last)));
        }
        let after = Timestamp::from_millisecond(self.last.as_millisecond() + HALF_HOUR_MS).unwrap_or(self.last);
        (self.first.to_string(), after.to_string())
    }

    fn minutes(&self) -> (u32, u32) {
        let minute = |at: i64| u32::try_from(at.div_euclid(60_000).rem_euclid(60)).unwrap_or(0);
        (minute(self.first.as_millisecond() - HALF_HOUR_MS), minute(self.last.as_millisecond()))
    }

    fn range(&self, moving: bool) -> String {
        let (start, end) = self.edges(moving);
        format!("{{between: {{start: {start:?}, end: {end:?}}}}}")
    }

    fn field(&self, range: &str, more: &str) -> String {
        let phones = &self.phones;
        format!(
            "phoneNumberMetrics(custSpaceId: {CHANNEL:?}, phoneNumbers: {phones:?}, granularity: HALF_HOUR, \
             range: {range}{more}) {{ nodes {{ {FIELDS} }} }}"
        )
    }
}

/// The body of a request.
pub(crate) fn ask(query: &str) -> String {
    json!({ "query": query }).to_string()
}

/// The rows of an answer, whatever its field is called.
pub(crate) fn nodes(body: &[u8]) -> Outcome<Vec<Row>> {
    let mut answer: Value = serde_json::from_slice(body)?;
    let field = answer["data"].as_object_mut().and_then(|data| data.values_mut().next());
    let nodes = field.map(|field| field["nodes"].take()).ok_or_else(|| format!("no data: {answer}"))?;
    Ok(serde_json::from_value(nodes)?)
}
