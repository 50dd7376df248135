// Starts GraphiQL from the globals that the CDN's scripts define.
const address = new URLSearchParams(location.search);
const query = address.get("query") ?? undefined;
const variables = address.get("variables") ?? undefined;
const linked = query === undefined ? [] : [{ query, variables }];
const response = await fetch("/graphiql/examples.json");
const examples = response.ok ? await response.json() : [{}];

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(
    GraphiQL,
    {
      fetcher: GraphiQL.createFetcher({ url: "/graphql" }),
      defaultTabs: [...linked, ...examples],
      initialQuery: query,
      initialVariables: variables,
      defaultEditorToolsVisibility: false,
    },
    React.createElement(GraphiQL.Logo, null, "weir"),
  ),
);
