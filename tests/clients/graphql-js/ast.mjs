// Parsed documents: how their parts are made, found and copied.

export const name = (value) => ({ kind: "Name", value });
export const variable = (value) => ({ kind: "Variable", name: name(value) });
export const argument = (key, value) => ({ kind: "Argument", name: name(key), value });
export const directive = (key, args = []) => ({ kind: "Directive", name: name(key), arguments: args });
export const set = (selections) => ({ kind: "SelectionSet", selections });
export const spread = (key, directives = []) => ({ kind: "FragmentSpread", name: name(key), directives });
export const inline = (on, selections, directives = []) => ({
  kind: "InlineFragment",
  typeCondition: on ? { kind: "NamedType", name: name(on) } : undefined,
  directives,
  selectionSet: set(selections),
});
export const fragment = (key, on, selections) => ({
  kind: "FragmentDefinition",
  name: name(key),
  typeCondition: { kind: "NamedType", name: name(on) },
  directives: [],
  selectionSet: set(selections),
});

/** A type as a node, from a graphql-js type or its text. */
export function typeNode(type) {
  const text = String(type);
  if (text.endsWith("!")) return { kind: "NonNullType", type: typeNode(text.slice(0, -1)) };
  if (text.startsWith("[")) return { kind: "ListType", type: typeNode(text.slice(1, -1)) };
  return { kind: "NamedType", name: name(text) };
}

/** Marks a word that is written without quotes: an enum's value. */
export class Word {
  constructor(text) {
    this.text = text;
  }
  toJSON() {
    return this.text;
  }
}

/** Marks a variable inside a value. */
export class Ref {
  constructor(key) {
    this.key = key;
  }
}

/** A value as a node. Text stays text: enum values have to be `Word`s. */
export function valueNode(value) {
  if (value === null) return { kind: "NullValue" };
  if (value instanceof Ref) return variable(value.key);
  if (value instanceof Word) return { kind: "EnumValue", value: value.text };
  if (Array.isArray(value)) return { kind: "ListValue", values: value.map(valueNode) };
  switch (typeof value) {
    case "boolean":
      return { kind: "BooleanValue", value };
    case "number":
      return { kind: Number.isInteger(value) ? "IntValue" : "FloatValue", value: String(value) };
    case "string":
      return { kind: "StringValue", value };
    default:
      return {
        kind: "ObjectValue",
        fields: Object.entries(value).map(([key, inner]) => ({ kind: "ObjectField", name: name(key), value: valueNode(inner) })),
      };
  }
}

/** Calls `visit(node, parent, key, index)` for every node below and including `node`. */
export function everyNode(node, visit, parent = null, key = null, index = null) {
  visit(node, parent, key, index);
  for (const [inner, value] of Object.entries(node)) {
    if (inner === "loc") continue;
    if (Array.isArray(value)) {
      value.forEach((item, i) => item?.kind && everyNode(item, visit, node, inner, i));
    } else if (value?.kind) {
      everyNode(value, visit, node, inner);
    }
  }
}

/** All nodes of these kinds, in order. */
export function nodesOf(root, ...kinds) {
  const found = [];
  everyNode(root, (node, parent, key, index) => kinds.includes(node.kind) && found.push({ node, parent, key, index }));
  return found;
}

/** A deep copy without positions. */
export function copy(node) {
  if (Array.isArray(node)) return node.map(copy);
  if (node === null || typeof node !== "object") return node;
  const made = {};
  for (const [key, value] of Object.entries(node)) if (key !== "loc") made[key] = copy(value);
  return made;
}
