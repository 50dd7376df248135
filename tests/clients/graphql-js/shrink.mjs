// Makes the document of a difference smaller while the difference remains.
import { Lexer, parse, Source, TokenKind } from "graphql";
import { copy, nodesOf } from "./ast.mjs";
import { plain } from "./write.mjs";

/** What may be left out, biggest first. */
const PARTS = [
  ["FragmentDefinition", "OperationDefinition"],
  ["Field", "InlineFragment", "FragmentSpread"],
  ["VariableDefinition", "Directive", "Argument"],
  ["ObjectField"],
];

/** Smaller documents, one step away. */
function* steps(document) {
  const removable = (kinds) => nodesOf(document, ...kinds).filter(({ index }) => index !== null);
  for (const kinds of PARTS) {
    for (let i = removable(kinds).length - 1; i >= 0; i--) {
      const smaller = copy(document);
      const places = nodesOf(smaller, ...kinds).filter(({ index }) => index !== null);
      const { parent, key, index } = places[i];
      if (parent[key].length === 1 && ["selections", "definitions"].includes(key)) continue;
      parent[key].splice(index, 1);
      yield smaller;
    }
  }
  // What is inside a fragment, without the fragment.
  for (let i = nodesOf(document, "InlineFragment").length - 1; i >= 0; i--) {
    const smaller = copy(document);
    const { node, parent, index } = nodesOf(smaller, "InlineFragment")[i];
    if (parent.kind !== "SelectionSet") continue;
    parent.selections.splice(index, 1, ...node.selectionSet.selections);
    yield smaller;
  }
  for (let i = nodesOf(document, "Field").length - 1; i >= 0; i--) {
    const smaller = copy(document);
    const { node } = nodesOf(smaller, "Field")[i];
    if (!node.alias) continue;
    node.alias = undefined;
    yield smaller;
  }
}

/** `stillDiffers(request)` asks again; at most `most` times. */
export async function shrunk(request, stillDiffers, most = 250) {
  let left = most;
  const differs = async (candidate) => left-- > 0 && (await stillDiffers(candidate));
  let document;
  try {
    document = parse(request.query, { noLocation: true });
  } catch {
    return shrunkText(request, differs);
  }
  let best = { ...request, query: plain(document) };
  if (!(await differs(best))) {
    // The difference is in the way it is written, so that only the text will do.
    for (const shrink of [shrunkGaps, shrunkParts, shrunkText]) request = await shrink(request, differs);
    return request;
  }
  for (let goesOn = true; goesOn; ) {
    goesOn = false;
    for (const smaller of steps(document)) {
      if (left <= 0) return best;
      const candidate = { ...best, query: plain(smaller) };
      if (await differs(candidate)) {
        [document, best, goesOn] = [smaller, candidate, true];
        break;
      }
    }
  }
  return best;
}

/** One blank instead of what the grammar ignores, wherever that will do. */
async function shrunkGaps(request, differs) {
  const { query } = request;
  const lexer = new Lexer(new Source(query));
  const tokens = [];
  for (let token = lexer.advance(); token.kind !== TokenKind.EOF; token = lexer.advance()) tokens.push(token);
  const gaps = tokens.map((token, i) => query.slice(i > 0 ? tokens[i - 1].end : 0, token.start));
  const written = (gaps) => tokens.map((token, i) => gaps[i] + query.slice(token.start, token.end)).join("");
  for (let size = gaps.length; size > 0; size >>= 1) {
    for (let at = 0; at < gaps.length; at += size) {
      const part = gaps.slice(at, at + size);
      if (part.every((gap) => gap === "" || gap === " ")) continue;
      const fewer = [...gaps];
      fewer.splice(at, part.length, ...part.map((gap) => (gap === "" ? "" : " ")));
      if (await differs({ ...request, query: written(fewer) })) gaps.splice(0, gaps.length, ...fewer);
    }
  }
  return { ...request, query: written(gaps) };
}

/** Leaves parts out and everything else as it is written. */
async function shrunkParts(request, differs) {
  let best = request;
  for (const kinds of PARTS) {
    for (let at = Infinity; ; ) {
      // From the end to the front, so that what was tried stays tried.
      const places = nodesOf(parse(best.query), ...kinds).filter(({ node, index }) => index !== null && node.loc.start < at);
      if (places.length === 0) break;
      const { start, end } = places.at(-1).node.loc;
      at = start;
      const candidate = { ...best, query: `${best.query.slice(0, start)} ${best.query.slice(end)}` };
      if (isParsed(candidate.query) && (await differs(candidate))) best = candidate;
    }
  }
  return best;
}

function isParsed(query) {
  try {
    parse(query);
    return true;
  } catch {
    return false;
  }
}

/** Halves, quarters and so on of the text are left out. */
async function shrunkText(request, differs) {
  let chars = [...request.query];
  for (let size = chars.length >> 1; size > 0; size >>= 1) {
    for (let at = 0; at < chars.length; ) {
      const smaller = [...chars.slice(0, at), ...chars.slice(at + size)];
      if (smaller.length > 0 && (await differs({ ...request, query: smaller.join("") }))) chars = smaller;
      else at += size;
    }
  }
  return { ...request, query: chars.join("") };
}
