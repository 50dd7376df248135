// Sixteen ways in which weir once left the specification, as fixed documents.
import { read } from "./judge.mjs";

/** The rows: what each is about, and its cases. A case is `[query, expectation, rest]`; `rest` is what else is sent. */
function everyRow({ channels, apps }) {
  const [one, other] = channels.map((id) => JSON.stringify(id));
  const [app] = apps.map((id) => JSON.stringify(id));
  const metrics = `phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:2)`;
  const days = (id, length) => `phoneNumberMetrics(custSpaceId:${id},range:{last:"${length}"},first:2)`;
  const no = { variables: '{"x":false}' };
  return [
    [1, "nothing selected of a row", [
      [`query($x:Boolean!){${metrics}{nodes{start @include(if:$x)}}}`, data('{"phoneNumberMetrics":{"nodes":[{},{}]}}'), no],
      [`query($x:Boolean!){${metrics}{edges{node{start @include(if:$x) end @include(if:$x)}}}}`, data('{"phoneNumberMetrics":{"edges":[{"node":{}},{"node":{}}]}}'), no],
      [`{${metrics}{edges{cursor @skip(if:true)}}}`, data('{"phoneNumberMetrics":{"edges":[{},{}]}}')],
      [`{${metrics}{nodes{...F @include(if:false)}}} fragment F on PhoneNumberMetric{start}`, data('{"phoneNumberMetrics":{"nodes":[{},{}]}}')],
      [`query($x:Boolean!){${metrics}{nodes{...@include(if:$x){start}}}}`, data('{"phoneNumberMetrics":{"nodes":[{},{}]}}'), no],
      [`{channel(custSpaceId:${one}){metrics(range:{last:"P1D"}){start @skip(if:true)}}}`, emptyRows],
    ]],
    [2, "rows of two channels under one name", [
      [`{${days(one, "P3D")}{nodes{start sentCount}} ...W} fragment W on Query{${days(other, "P2D")}{nodes{deliveredCount}}}`, refused],
      [`{...V ...W} fragment V on Query{${days(one, "P3D")}{nodes{start}}} fragment W on Query{...{${days(other, "P3D")}{nodes{end}}}}`, refused],
      [`{${days(one, "P3D")}{nodes{start sentCount}} ...W} fragment W on Query{${days(one, "P3D")}{nodes{deliveredCount}}}`, runs],
    ]],
    [3, "rows of two windows under one name", [
      [`{application(appId:${app}){distribution(range:{last:"P1D"}){data{distributionName}}} application(appId:${app}){distribution(range:{last:"P2D"}){data{value}}}}`, refused],
    ]],
    [4, "two fields under one name, through a fragment", [
      [`{${metrics}{nodes{count:sentCount ...F}}} fragment F on PhoneNumberMetric{count:deliveredCount}`, refused],
      [`{${metrics}{nodes{...F ...G}}} fragment F on PhoneNumberMetric{count:sentCount} fragment G on PhoneNumberMetric{...{count:deliveredCount}}`, refused],
    ]],
    [5, "a variable left out, and the argument's default", [
      [`query($g:Granularity){phoneNumberMetrics(granularity:$g,custSpaceId:${one},range:{last:"P3D"},first:2){totalCount}}`, fine, {}],
      [`query($d:Dimension){operationDistribution(appId:${app},dimension:$d,range:{last:"P1D"}){dimension}}`, data('{"operationDistribution":{"dimension":"PROVINCE"}}'), {}],
      [`query($w:Duration){operationDistributions(appIds:[],range:{last:"P1D"},window:$w){start}}`, data('{"operationDistributions":[]}'), {}],
      [`query($b:Boolean){__type(name:"Vendor"){enumValues(includeDeprecated:$b){name}}}`, data('{"__type":{"enumValues":[{"name":"ALIBABA_CAMS"},{"name":"VOLCENGINE_RTC"}]}}'), {}],
    ]],
    [6, "a value of a wrong sort", [
      [`{__typename phoneNumberMetrics(custSpaceId:${one},range:{last:"P1M"}){totalCount}}`, refused],
      [`{__typename phoneNumberMetrics(custSpaceId:${one},range:{between:{start:"yesterday",end:"2026-11-16T00:00:00Z"}}){totalCount}}`, refused],
      [`{__typename phoneNumberMetrics(custSpaceId:${one},range:{last:"P1D"},first:3000000000){totalCount}}`, refused],
      [`query($r:TimeRange!){__typename phoneNumberMetrics(custSpaceId:${one},range:$r){totalCount}}`, refused, { variables: '{"r":"5"}' }],
      [`query($l:Duration!){__typename phoneNumberMetrics(custSpaceId:${one},range:{last:$l}){totalCount}}`, refused, { variables: '{"l":"P1M"}' }],
      [`query($n:Int){__typename phoneNumberMetrics(custSpaceId:${one},range:{last:"P1D"},first:$n){totalCount}}`, refused, { variables: '{"n":3000000000}' }],
    ]],
    [7, "a type that is not there", [
      ["query($v:[Nope!]=[1]){__typename}", refused],
      [`query($v:[Nope!]=[1]){channel(custSpaceId:$v){account}}`, refused],
    ]],
    [8, "a variable in a place of another type", [
      [`query($v:Float!){application(appId:$v){account}}`, refused, { variables: '{"v":1.5}' }],
      ["query($b:Boolean){datasets @include(if:$b){name}}", refused, { variables: '{"b":true}' }],
      ["query($a:[ID]){operationDistributions(appIds:$a,range:{last:\"P1D\"}){start}}", refused, { variables: '{"a":[]}' }],
    ]],
    [9, "a variable used by __typename alone", [["query($x:Boolean!){datasets{name __typename @include(if:$x)}}", runs, { variables: '{"x":true}' }]]],
    [10, "what the rules refuse", [
      ["{__typename(a:1)}", refused],
      ["{__typename @nope}", refused],
      ["{__typename{x}}", refused],
      [`{phoneNumberMetrics(custSpaceId:${one},range:{last:"P1D",last:"P1D"}){totalCount}}`, refused],
      [`{phoneNumberMetrics(custSpaceId:${one},range:{last:"P1D"},granularity:"DAILY"){totalCount}}`, refused],
      [`query($n:Int="x"){phoneNumberMetrics(custSpaceId:${one},range:{last:"P1D"},first:$n){totalCount}}`, refused, { variables: '{"n":1}' }],
      ["query(){__typename}", refused],
      ["{...on} fragment on on Query{__typename}", refused],
      [`{phoneNumberMetrics(custSpaceId:${one},range:{last:5})@skip(if:true){totalCount}}`, refused],
      ["{quotas{...F}} fragment F on Query{__typename}", refused],
    ]],
    [11, "one name of two variables", [
      [
        "query A($v:ID!){channel(custSpaceId:$v){account}} query B($v:Boolean!){datasets @include(if:$v){name}}",
        data('{}'),
        { operationName: "B", variables: '{"v":false}' },
      ],
      ["query A($v:Int!){phoneNumberMetrics(range:{last:\"P1D\"},first:$v){totalCount}} query B($v:String!){__type(name:$v){name}}", data('{"__type":{"name":"Query"}}'), { operationName: "B", variables: '{"v":"Query"}' }],
    ]],
    [12, "what the grammar allows", [
      ["query($a:ID !){channel(custSpaceId:$a){account}}", fine, { variables: `{"a":${one}}` }],
      ["query($a:[ID! ]){operationDistributions(appIds:$a,range:{last:\"P1D\"}){start}}", fine, { variables: '{"a":[]}' }],
      ["{...on# a comment\nQuery{__typename}}", runs],
      ["{...F} fragment F on# a comment\nQuery{__typename}", runs],
      ['{__type(name:"\\u{51}uery"){name}}', data('{"__type":{"name":"Query"}}')],
      ['{__type(name:"\\uD83D\\uDE00"){name}}', data('{"__type":null}')],
      ['"what it does" query{__typename}', runs],
      ['{...F} "of F" fragment F on Query{__typename}', runs],
      ["{channel(custSpaceId:123456789012345678901234567890){account}}", runs],
    ]],
    [13, "block strings and line ends", [
      ['{channel(custSpaceId:"""a\\"""b"""){account}}', says('a"""b')],
      ['{channel(custSpaceId:"""\ra\r  b\r"""){account}}', says("a\n  b")],
      ["{__typename\r#comment\r__typename\rnope}", at(4, 1)],
    ]],
    [14, "one failure, one error", [
      ['{channel(custSpaceId:"nobody"){account} channel(custSpaceId:"nobody"){custSpaceId}}', oneError],
      ['{...F channel(custSpaceId:"nobody"){account}} fragment F on Query{channel(custSpaceId:"nobody"){account}}', oneError],
    ]],
    [15, "whole numbers written as fractions", [
      [`query($n:Int){phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:$n){nodes{__typename}}}`, fine, { variables: '{"n":1.0}' }],
      [`query($n:Int){phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:$n){nodes{__typename}}}`, fine, { variables: '{"n":3e0}' }],
      [`query($n:Int){phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:$n){nodes{__typename}}}`, refused, { variables: '{"n":1.5}' }],
    ]],
    [16, "numbers that are no phone numbers", [
      [`{phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:3000000000){totalCount}}`, unmasked],
      [`query($n:Int){phoneNumberMetrics(custSpaceId:${one},range:{last:"P3D"},first:$n){totalCount}}`, unmasked, { variables: '{"n":99999999999}' }],
    ]],
  ];
}

// What is expected: each returns what is wrong, or nothing.
const runs = (answer) => (answer.runs ? null : `refused: ${answer.message}`);
const refused = (answer) => (answer.runs ? "runs" : null);
const fine = (answer) => runs(answer) ?? (answer.errors.length > 0 ? `errors: ${answer.message}` : null);
const data = (expected) => (answer) => fine(answer) ?? (answer.data === expected ? null : `data ${answer.data.slice(0, 100)}`);
const says = (text) => (answer) => runs(answer) ?? (answer.message?.includes(text) ? null : `says ${JSON.stringify(answer.message)}`);
const oneError = (answer) => runs(answer) ?? (answer.errors.length === 1 ? null : `${answer.errors.length} errors`);
const unmasked = (answer) => (/\*\*\*\d/.test(answer.message ?? "") ? `says ${JSON.stringify(answer.message)}` : null);
const emptyRows = (answer) => fine(answer) ?? (/^\{"channel":\{"metrics":\[\{\}(,\{\})*\]\}\}$/.test(answer.data) ? null : `data ${answer.data.slice(0, 100)}`);
const at = (line, column) => (answer) => {
  const [place] = answer.locations ?? [];
  return refused(answer) ?? (place?.line === line && place.column === column ? null : `the error is at ${place?.line}:${place?.column}, should be at ${line}:${column}`);
};

export async function rows({ server, facts, report }) {
  const differing = [];
  for (const [number, title, cases] of everyRow(facts)) {
    let isRight = true;
    for (const [query, expectation, rest = {}] of cases) {
      const request = { query, ...rest };
      const answer = read(await server.post(request));
      const wrong = answer.broken ?? expectation(answer);
      if (wrong) {
        isRight = false;
        await report.differ({ kind: `row ${number}, ${title}`, detail: wrong }, number, request);
      } else {
        report.agree();
      }
    }
    if (!isRight) differing.push(number);
    console.log(`row ${number}: ${isRight ? "by the specification" : "differs"} (${title})`);
  }
  report.extra = { rowsDiffering: differing };
}
