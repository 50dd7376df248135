// One request in many ways that all mean the same.
import { getNamedType, isInputObjectType, isListType, isNonNullType, print, stripIgnoredCharacters, TypeInfo, validate, visit, visitWithTypeInfo, valueFromASTUntyped } from "graphql";
import * as ast from "./ast.mjs";
import { copy, directive, argument, nodesOf, valueNode } from "./ast.mjs";
import { RULES } from "./judge.mjs";
import { joinOddly, oneNotation, plain, tokens } from "./write.mjs";

/** Every constant argument as a variable. Fields that share a response name share their variables. */
function withVariables(document, variables, schema) {
  const changed = copy(document);
  const values = { ...variables };
  const info = new TypeInfo(schema);
  const byValue = new Map();
  const wanted = new Map();
  const isConstant = (node) => nodesOf(node, "Variable").length === 0;
  // What stands where: fragments are visited once, and their variables belong to all operations that use them.
  const made = visit(
    changed,
    visitWithTypeInfo(info, {
      Argument(node) {
        const arg = info.getArgument();
        if (!arg || !isConstant(node.value)) return undefined;
        const key = `${arg.type} ${plain(node.value)}`;
        if (!byValue.has(key)) {
          const name = `moved${byValue.size}`;
          byValue.set(key, name);
          wanted.set(name, arg.type);
          values[name] = coercible(valueFromASTUntyped(node.value), arg.type);
        }
        return { ...node, value: ast.variable(byValue.get(key)) };
      },
    }),
  );
  const fragments = new Map(made.definitions.filter((node) => node.kind === "FragmentDefinition").map((node) => [node.name.value, node]));
  for (const operation of made.definitions.filter((node) => node.kind === "OperationDefinition")) {
    const used = new Set();
    const seen = new Set();
    const collect = (node) => {
      for (const { node: variable } of nodesOf(node, "Variable")) used.add(variable.name.value);
      for (const { node: spread } of nodesOf(node, "FragmentSpread")) {
        const name = spread.name.value;
        if (!seen.has(name)) {
          seen.add(name);
          collect(fragments.get(name));
        }
      }
    };
    collect(operation.selectionSet);
    for (const [name, type] of wanted) {
      if (used.has(name)) {
        operation.variableDefinitions.push({ kind: "VariableDefinition", variable: ast.variable(name), type: ast.typeNode(type), directives: [] });
      }
    }
  }
  return { document: made, variables: values };
}

/** A literal's value as it may be sent for a variable: null stays out of places that want none. */
function coercible(value, type) {
  const nullable = isNonNullType(type) ? type.ofType : type;
  if (value === null) return null;
  if (isListType(nullable)) return Array.isArray(value) ? value.map((item) => coercible(item, nullable.ofType)) : value;
  if (isInputObjectType(nullable)) {
    const fields = nullable.getFields();
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, coercible(inner, fields[key].type)]));
  }
  // Big literals are text in an untyped reading.
  return getNamedType(nullable).name === "Int" ? Number(value) : value;
}

/** Every selection wrapped: into named fragments, or into inline ones. */
function withFragments(document, schema, rng, inlineOnly) {
  const changed = copy(document);
  const info = new TypeInfo(schema);
  const fragments = [];
  const made = visit(
    changed,
    visitWithTypeInfo(info, {
      SelectionSet: {
        leave(node, key, parent) {
          const type = info.getParentType();
          if (!type || (!inlineOnly && parent?.kind === "FragmentDefinition")) return undefined;
          const always = [directive("include", [argument("if", valueNode(true))])];
          if (inlineOnly) return ast.set([ast.inline(rng.chance(0.5) ? type.name : null, node.selections, always)]);
          if (rng.chance(0.3)) return ast.set([ast.inline(null, node.selections)]);
          const name = `Wrapped${fragments.length}`;
          fragments.push(ast.fragment(name, type.name, node.selections));
          return ast.set([ast.spread(name)]);
        },
      },
    }),
  );
  return { ...made, definitions: [...made.definitions, ...fragments] };
}

/** Among other operations. */
function amongOthers(document, asked, rng) {
  const changed = copy(document);
  const operation = changed.definitions.find((node) => node.kind === "OperationDefinition" && node.name?.value === asked);
  const name = asked ?? "Asked";
  operation.name = ast.name(name);
  const other = (key, text) => ({ kind: "Raw", text: `query ${key}${text}` });
  const others = [other("Other", "{__typename}"), other("Another", "($v0:Int!){phoneNumberMetrics(range:{last:\"P1D\"},first:$v0){totalCount}}")];
  const definitions = rng.shuffled([...changed.definitions, ...others.filter(({ text }) => !text.startsWith(`query ${name}`))]);
  return { document: { ...changed, definitions }, operationName: name };
}

/** A request that looks nearly the same and means something else, if one is found. */
export function nearTwin({ document, variables, operationName }, { schema, rng }) {
  for (let n = 0; n < 5; n++) {
    const changed = copy(document);
    // Not the dates: another day is another call to the vendor.
    const strings = nodesOf(changed, "StringValue").filter(({ node }) => !/^(\d{4}-|P)/.test(node.value));
    const leaves = nodesOf(changed, "Field").filter(({ node }) => !node.selectionSet);
    if (strings.length > 0 && rng.chance(0.7)) {
      const { node } = rng.pick(strings);
      const chars = [...node.value];
      chars.splice(rng.below(chars.length + 1), 0, rng.pick([" ", ",", "#", "\\", '"', "\n", "  ", "\ufeff"]));
      node.value = chars.join("");
    } else if (leaves.length > 0) {
      const { node } = rng.pick(leaves);
      if (rng.chance(0.5)) node.name = ast.name("__typename");
      else node.alias = ast.name(rng.pick(["a", "A", "aa"]));
    }
    if (validate(schema, changed, RULES).length > 0) continue;
    return { query: joinOddly(tokens(changed, oneNotation(rng)), rng, 0), variables: JSON.stringify(variables), operationName: operationName ?? undefined };
  }
  return null;
}

/** The request in all ways, and one that is another: `[name, method, { query, variables, operationName }]`. */
export function everyWay({ document, variables, operationName }, { schema, rng }) {
  const json = JSON.stringify(variables);
  const sent = (document, values = json, name = operationName) => ({ query: plain(document), variables: values, operationName: name ?? undefined });
  const literal = sent(document);
  const moved = withVariables(document, variables, schema);
  const several = document.definitions.filter((node) => node.kind === "OperationDefinition").length > 1;
  const operation = document.definitions.find((node) => node.kind === "OperationDefinition" && (!several || node.name?.value === operationName));
  const among = several ? null : amongOthers(document, operation.name?.value, rng);
  const twin = nearTwin({ document, variables, operationName }, { schema, rng });
  return [
    ["as it is", "post", literal],
    ["constants as variables", "post", sent(moved.document, JSON.stringify(moved.variables))],
    operation.operation === "query" && ["by GET", "get", literal],
    among && ["among other operations", "post", sent(among.document, json, among.operationName)],
    ["in fragments", "post", sent(withFragments(document, schema, rng, false))],
    ["in @include(if: true)", "post", sent(withFragments(document, schema, rng, true))],
    ["printed", "post", { ...literal, query: print(document) }],
    ["stripped", "post", { ...literal, query: stripIgnoredCharacters(print(document)) }],
    ["oddly written", "post", { ...literal, query: joinOddly(tokens(document, oneNotation(rng)), rng, 0.2) }],
    twin && ["a near twin", "post", twin],
    ["again", "post", literal],
    ["a third time", "post", literal],
  ].filter(Boolean);
}
