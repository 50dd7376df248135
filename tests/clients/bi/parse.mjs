// Parses each file of M with the language's own parser; says what is wrong with the first that is not right.
import { readFileSync } from "node:fs";
import { DefaultSettings, ResultUtils, TaskUtils } from "@microsoft/powerquery-parser";

for (const file of process.argv.slice(2)) {
  const task = await TaskUtils.tryLexParse(DefaultSettings, readFileSync(file, "utf8"));
  if (!TaskUtils.isParseStageOk(task)) {
    console.error(`${file}: ${task.error?.message ?? "it does not parse"}`);
    process.exit(1);
  }
}
console.log("parsed");
