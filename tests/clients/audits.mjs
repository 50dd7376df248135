// Runs the GraphQL-over-HTTP audits against a server and prints what each of them found, as JSON.
// node audits.mjs http://127.0.0.1:8080/graphql
import { serverAudits } from "graphql-http";

const [url] = process.argv.slice(2);
const results = await Promise.all(serverAudits({ url }).map((audit) => audit.fn()));
console.log(JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
