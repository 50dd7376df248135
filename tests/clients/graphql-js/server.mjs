// The server under comparison: its schema, what it knows, and many requests at once.
import { Agent, request as httpRequest } from "node:http";
import {
  buildClientSchema,
  buildSchema,
  getIntrospectionQuery,
  GraphQLSchema,
  lexicographicSortSchema,
  introspectionTypes,
  printSchema,
} from "graphql";
import { teachScalars } from "./scalars.mjs";

const ACCEPT = "application/graphql-response+json";
const PATIENCE_MS = 40_000;
/** Requests in a row without an answer, after which none is hoped for. */
const HOPELESS = 24;

/** What graphql-js has beyond the specification of September 2025. */
function leaveOutNovelties() {
  const fields = (name) => introspectionTypes.find((type) => type.name === name).getFields();
  delete fields("__Directive").isDeprecated;
  delete fields("__Directive").deprecationReason;
  fields("__Schema").directives.args = [];
}

export class Server {
  constructor(url, connections = 8) {
    this.url = new URL(url);
    this.agent = new Agent({ keepAlive: true, maxSockets: connections });
    this.asked = 0;
    this.failed = 0;
  }

  /** Sends bytes. A failure has status 0 and says why; only where there is no hope left it throws. */
  send(method, path, body, headers = {}) {
    this.asked += 1;
    return new Promise((resolve, reject) => {
      const failed = (error) => {
        this.failed += 1;
        const why = String(error.message || error.code || error);
        if (this.failed >= HOPELESS) reject(new Error(`the server answers no more: ${why}`));
        else resolve({ status: 0, text: why });
      };
      const options = { method, agent: this.agent, timeout: PATIENCE_MS, headers };
      const request = httpRequest(new URL(path, this.url), options, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("error", failed);
        response.on("end", () => {
          this.failed = 0;
          resolve({ status: response.statusCode, text: Buffer.concat(chunks).toString("utf8") });
        });
      });
      request.on("timeout", () => request.destroy(new Error(`no answer within ${PATIENCE_MS / 1000} s`)));
      request.on("error", failed);
      request.end(body);
    });
  }

  /** Asks by POST. `variables` is JSON text, for numbers in JSON are more than JavaScript's. */
  post({ query, variables, operationName, extensions }) {
    const parts = [`"query":${JSON.stringify(query)}`];
    if (variables !== undefined) parts.push(`"variables":${variables}`);
    if (operationName !== undefined) parts.push(`"operationName":${JSON.stringify(operationName)}`);
    if (extensions !== undefined) parts.push(`"extensions":${JSON.stringify(extensions)}`);
    const body = Buffer.from(`{${parts.join(",")}}`);
    const headers = { "content-type": "application/json", accept: ACCEPT, "content-length": body.length };
    return this.send("POST", "/graphql", body, headers);
  }

  get({ query, variables, operationName, extensions }) {
    const params = new URLSearchParams({ query });
    if (variables !== undefined) params.set("variables", variables);
    if (operationName !== undefined) params.set("operationName", operationName);
    if (extensions !== undefined) params.set("extensions", JSON.stringify(extensions));
    return this.send("GET", `/graphql?${params}`, undefined, { accept: ACCEPT });
  }

  /** The data of a query that must not fail. */
  async data(query, variables) {
    const answer = await this.post({ query, variables: variables && JSON.stringify(variables) });
    let json;
    try {
      json = JSON.parse(answer.text);
    } catch {
      throw new Error(`no JSON from ${this.url}: ${answer.status} ${answer.text.slice(0, 200)}`);
    }
    if (!json.data || json.errors) throw new Error(`${query} failed: ${answer.text.slice(0, 500)}`);
    return json.data;
  }

  /** The schema as introspection tells it, types in its order; `sdl` says how its text differs, if it does. */
  async schema() {
    const told = await this.data(
      getIntrospectionQuery({ specifiedByUrl: true, directiveIsRepeatable: true, inputValueDeprecation: true, oneOf: true }),
    );
    leaveOutNovelties();
    const schema = teachScalars(buildClientSchema(told));
    const types = schema.getTypeMap();
    for (const { name } of told.__schema.types) {
      const type = types[name];
      delete types[name];
      types[name] = type;
    }
    const { status, text } = await this.send("GET", "/schema.graphql");
    if (status !== 200) throw new Error(`GET /schema.graphql: ${status}`);
    const plain = (any) => printSchema(lexicographicSortSchema(new GraphQLSchema({ ...any.toConfig(), description: undefined })));
    const [introspected, written] = [plain(schema).split("\n"), plain(buildSchema(text)).split("\n")];
    const at = introspected.findIndex((line, i) => line !== written[i]);
    const sdl = at >= 0 || introspected.length !== written.length ? `${introspected[at]} | ${written[at]}` : null;
    return { schema, sdl };
  }

  close() {
    this.agent.destroy();
  }
}

/** Reads JSON text as it is, names of objects in their order and numbers in JavaScript's words: equal results are equal
 * answers, and a name that comes twice is seen. Throws where it is no JSON. */
export function normal(text) {
  JSON.parse(text);
  let out = "";
  for (let at = 0; at < text.length; ) {
    const char = text[at];
    if (char === '"') {
      let end = at + 1;
      while (text[end] !== '"') end += text[end] === "\\" ? 2 : 1;
      const token = text.slice(at, ++end);
      out += token.includes("\\") ? JSON.stringify(JSON.parse(token)) : token;
      at = end;
    } else if (/[-0-9]/.test(char)) {
      const [token] = /^[-+.eE0-9]+/.exec(text.slice(at, at + 400));
      out += JSON.stringify(Number(token));
      at += token.length;
    } else {
      if (!/\s/.test(char)) out += char;
      at += 1;
    }
  }
  return out;
}

/** The parts of an object in normal form, each as its text. */
export function parts(normalText) {
  const found = new Map();
  let [depth, start, name] = [0, 1, null];
  for (let at = 0; at < normalText.length; at++) {
    const char = normalText[at];
    if (char === '"') {
      const begin = at;
      at += 1;
      while (normalText[at] !== '"') at += normalText[at] === "\\" ? 2 : 1;
      if (depth === 1 && name === null) {
        name = JSON.parse(normalText.slice(begin, at + 1));
        start = at + 2;
      }
    } else if (char === "{" || char === "[") {
      depth += 1;
    } else if (char === "}" || char === "]") {
      depth -= 1;
    }
    if (name !== null && ((depth === 1 && char === ",") || depth === 0)) {
      found.set(name, normalText.slice(start, at));
      name = null;
    }
  }
  return found;
}
