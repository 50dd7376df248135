// Starts headless Chromium such that it asks nothing by itself; `more` are further flags.
import { chromium } from "playwright-core";

const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export const launch = (executablePath, more) => chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...more] });
