// GraphiQL for weir. Nothing here asks any host but the one that served it.
import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "./weir.css";

import { createGraphiQLFetcher } from "@graphiql/toolkit";
import { GraphiQL } from "graphiql";
import { createElement } from "react";
import { createRoot } from "react-dom/client";

import logo from "./weir.svg";

// A query that came with the address, as when a browser follows a link to /graphql?query=..., goes into the first tab.
const address = new URLSearchParams(location.search);
const query = address.get("query") ?? undefined;
const variables = address.get("variables") ?? undefined;
const linked = query === undefined ? [] : [{ query, variables }];

createRoot(document.getElementById("graphiql")).render(
  createElement(
    GraphiQL,
    {
      fetcher: createGraphiQLFetcher({ url: "/graphql" }),
      defaultTabs: [...linked, ...(await examples())],
      initialQuery: query,
      initialVariables: variables,
      defaultEditorToolsVisibility: false,
    },
    createElement(
      GraphiQL.Logo,
      null,
      createElement("a", { className: "weir-logo", href: "/graphiql" }, createElement("img", { src: logo, alt: "" }), "weir"),
    ),
  ),
);

// The gateway hands out its own examples, so that they always fit its schema.
async function examples() {
  const response = await fetch("/graphiql/examples.json");
  return response.ok ? response.json() : [{}];
}
