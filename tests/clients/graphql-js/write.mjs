// Writes documents: parsed ones as tokens, tokens as text, plainly or as oddly as the grammar allows.
import { parseValue } from "graphql";

/** The tokens of a node. `strings` writes the value of a string. */
export function tokens(node, strings = JSON.stringify) {
  const out = [];
  const put = (...parts) => out.push(...parts);
  const each = (nodes) => (nodes ?? []).forEach(walk);
  const between = (open, nodes, close) => {
    if (nodes?.length) {
      put(open);
      nodes.forEach(walk);
      put(close);
    }
  };
  function walk(node) {
    switch (node.kind) {
      case "Document":
        return each(node.definitions);
      case "OperationDefinition":
        if (node.operation !== "query" || node.name || node.directives?.length || node.variableDefinitions?.length || node.spelledOut) {
          put(node.operation);
        }
        if (node.name) put(node.name.value);
        between("(", node.variableDefinitions, ")");
        each(node.directives);
        return walk(node.selectionSet);
      case "VariableDefinition":
        walk(node.variable);
        put(":");
        walk(node.type);
        if (node.defaultValue) {
          put("=");
          walk(node.defaultValue);
        }
        return each(node.directives);
      case "FragmentDefinition":
        put("fragment", node.name.value, "on", node.typeCondition.name.value);
        each(node.directives);
        return walk(node.selectionSet);
      case "SelectionSet":
        put("{");
        each(node.selections);
        return put("}");
      case "Field":
        if (node.alias) put(node.alias.value, ":");
        put(node.name.value);
        between("(", node.arguments, ")");
        each(node.directives);
        return node.selectionSet && walk(node.selectionSet);
      case "FragmentSpread":
        put("...", node.name.value);
        return each(node.directives);
      case "InlineFragment":
        put("...");
        if (node.typeCondition) put("on", node.typeCondition.name.value);
        each(node.directives);
        return walk(node.selectionSet);
      case "Directive":
        put("@", node.name.value);
        return between("(", node.arguments, ")");
      case "Argument":
      case "ObjectField":
        put(node.name.value, ":");
        return walk(node.value);
      case "Variable":
        return put("$", node.name.value);
      case "NamedType":
        return put(node.name.value);
      case "ListType":
        put("[");
        walk(node.type);
        return put("]");
      case "NonNullType":
        walk(node.type);
        return put("!");
      case "ListValue":
        put("[");
        each(node.values);
        return put("]");
      case "ObjectValue":
        put("{");
        each(node.fields);
        return put("}");
      case "StringValue":
        return put(strings(node.value));
      case "NullValue":
        return put("null");
      case "Raw":
        return put(node.text);
      default:
        // Numbers, enum values and booleans.
        return put(String(node.value));
    }
  }
  walk(node);
  return out;
}

const WORD = /[_0-9A-Za-z]/;

/** Whether two tokens would become others if nothing stood between them. */
function mustPart(left, right) {
  const [last, first] = [left.at(-1), right[0]];
  if (WORD.test(last)) return WORD.test(first) || (first === "." && /^[-0-9]/.test(left));
  return last === '"' && first === '"';
}

/** Tokens as text, as short as can be. */
export function join(tokens) {
  return tokens.reduce((text, token, i) => text + (i > 0 && mustPart(tokens[i - 1], token) ? " " : "") + token, "");
}

/** A parsed document as text, as short as can be. */
export function plain(node) {
  return join(tokens(node));
}

const IGNORED = [" ", " ", " ", "  ", "\n", "\n", "\r\n", "\r", "\t", ",", ", ", " ,\n", ",,", "\n\n  ", "# why\n", "#\n", '# "{ } """ ...\r\n', "# 名 \u{1f600}\n", "\u{feff}"];

/** Tokens as text, with everything the grammar ignores between them; `oddness` from 0 to 1. */
export function joinOddly(tokens, rng, oddness) {
  const ignored = () => {
    let text = "";
    do text += rng.pick(IGNORED);
    while (rng.chance(0.3));
    return text;
  };
  let text = rng.chance(oddness / 2) ? ignored() : "";
  tokens.forEach((token, i) => {
    if (i > 0) {
      if (rng.chance(oddness)) text += ignored();
      else if (mustPart(tokens[i - 1], token) || rng.chance(0.3)) text += " ";
    }
    text += token;
  });
  return rng.chance(oddness / 2) ? text + ignored() : text;
}

/** A string as a token: plain, with escapes of all sorts, or as a block where that is possible. */
export function oddString(value, rng) {
  if (rng.chance(0.25)) {
    const block = oddBlock(value, rng);
    if (block !== null) return block;
  }
  const escapes = { '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const odd = rng.chance(0.3);
  let text = '"';
  for (const char of value) {
    const code = char.codePointAt(0);
    if (odd && rng.chance(0.2)) text += escaped(code, rng);
    else if (odd && char === "/") text += "\\/";
    else if (escapes[char]) text += escapes[char];
    else if (code < 0x20 || (code >= 0xd800 && code < 0xe000)) text += escaped(code, rng);
    else text += char;
  }
  return `${text}"`;
}

/** Writes each string in a notation of its own, and the same string always alike: one value in two notations is two values
 * to graphql-js where arguments are compared. */
export function oneNotation(rng) {
  const written = new Map();
  return (value) => {
    if (!written.has(value)) written.set(value, oddString(value, rng));
    return written.get(value);
  };
}

function escaped(code, rng) {
  const hex = (number) => {
    const digits = number.toString(16).padStart(4, "0");
    return rng.chance(0.5) ? digits.toUpperCase() : digits;
  };
  if (rng.chance(0.3) && !(code >= 0xd800 && code < 0xe000)) return `\\u{${code.toString(16).padStart(rng.between(1, 8), "0")}}`;
  if (code <= 0xffff) return `\\u${hex(code)}`;
  const rest = code - 0x10000;
  return `\\u${hex(0xd800 + (rest >> 10))}\\u${hex(0xdc00 + (rest & 0x3ff))}`;
}

function oddBlock(value, rng) {
  const quoted = value.replaceAll('"""', '\\"""');
  const end = rng.pick(["\n", "\r\n", "\r"]);
  const candidates = [
    `"""${quoted}"""`,
    `"""${end}${quoted}${end}"""`,
    `"""${end}    ${quoted.split("\n").join(`${end}    `)}${end}  """`,
    `"""\t${end}${end}  ${quoted.split("\n").join(`${end}  `)}  ${end}${end}"""`,
  ];
  for (const text of rng.shuffled(candidates)) {
    try {
      if (parseValue(text).value === value) return text;
    } catch {
      // Not every value can be written as a block.
    }
  }
  return null;
}
