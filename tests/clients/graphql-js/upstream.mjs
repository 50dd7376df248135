// Answers that graphql-js gives over the server's own data: every field that has arguments is asked of the server once,
// with everything that can be selected below it, and graphql-js does all the rest.
import { execute, getNamedType, GraphQLError, isCompositeType } from "graphql";

/** Fields with arguments below a root field: how their parent is asked for again. */
const PARENTS = {
  Channel: { root: "channel", argument: "custSpaceId", type: "ID!" },
  Application: { root: "application", argument: "appId", type: "ID!" },
};

/** Where a number came from differs from one ask to the next. */
export const steady = (text) => text.replaceAll(/"(UPSTREAM|CACHE|ARCHIVE|STALE)"/g, '"<source>"');

export class Upstream {
  constructor(server, schema) {
    Object.assign(this, { server, schema, asked: new Map() });
  }

  /** Forgets all data: some of it may have changed. */
  forget() {
    this.asked.clear();
  }

  /** Everything below a type that has no arguments. */
  everything(type) {
    if (!isCompositeType(type)) return "";
    const fields = Object.values(type.getFields()).filter((field) => field.args.length === 0);
    return `{__typename ${fields.map((field) => field.name + this.everything(getNamedType(field.type))).join(" ")}}`;
  }

  /** What the server has for a field with these arguments. */
  value(parentType, field, args, source) {
    const isRoot = [this.schema.getQueryType(), this.schema.getMutationType()].includes(parentType);
    const parent = isRoot ? null : PARENTS[parentType.name];
    if (!isRoot && !parent) throw new Error(`${parentType.name}.${field.name} has arguments: tell upstream.mjs how to ask for it`);
    const key = JSON.stringify([parentType.name, field.name, args, parent && source[parent.argument]]);
    if (!this.asked.has(key)) this.asked.set(key, this.ask(field, args, parent, source));
    return this.asked.get(key);
  }

  async ask(field, args, parent, source) {
    const given = field.args.filter((arg) => arg.name in args);
    const definitions = given.map((arg) => `$${arg.name}:${arg.type}`);
    const variables = { ...args };
    let body = `it:${field.name}${given.length > 0 ? `(${given.map((arg) => `${arg.name}:$${arg.name}`).join(",")})` : ""}${this.everything(getNamedType(field.type))}`;
    let path = ["it"];
    if (parent) {
      definitions.push(`$parent:${parent.type}`);
      variables.parent = source[parent.argument];
      body = `at:${parent.root}(${parent.argument}:$parent){${body}}`;
      path = ["at", "it"];
    }
    const query = `query${definitions.length > 0 ? `(${definitions.join(",")})` : ""}{${body}}`;
    const answer = await this.server.post({ query, variables: JSON.stringify(variables) });
    let json;
    try {
      json = JSON.parse(answer.text);
    } catch {
      throw new Error(`no JSON for ${query}: ${answer.status} ${answer.text.slice(0, 200)}`);
    }
    if (!json.data) throw new Error(`${query} with ${JSON.stringify(variables)} is refused: ${json.errors?.[0]?.message}`);
    return withErrors(path.reduce((value, key) => value[key], json.data), json.errors ?? [], path.length);
  }

  /** The answer to a document, as graphql-js executes it. */
  async answer(document, variables, operationName) {
    const fieldResolver = (source, args, _, info) => {
      const field = info.parentType.getFields()[info.fieldName];
      const isRoot = info.path.prev === undefined;
      return isRoot || field.args.length > 0 ? this.value(info.parentType, field, args, source) : source[info.fieldName];
    };
    return execute({ schema: this.schema, document, rootValue: {}, variableValues: variables, operationName, fieldResolver });
  }
}

/** The value with each failed part replaced by its error, so that graphql-js puts the error where it belongs. */
function withErrors(value, errors, depth) {
  for (const { message, path, extensions } of errors) {
    const error = new GraphQLError(message, { extensions });
    const steps = path.slice(depth);
    if (steps.length === 0 || value === null) return error;
    let at = value;
    for (const step of steps.slice(0, -1)) at = at[step] ?? at;
    at[steps.at(-1)] = error;
  }
  return value;
}
