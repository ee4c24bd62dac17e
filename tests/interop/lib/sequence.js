// What arrived, against what was sent.

import assert from "node:assert/strict";

/** Waits until `condition()` holds; says `what` when it does not within the time. */
export async function until(condition, what, limitMs = 20_000) {
  const deadline = Date.now() + limitMs;
  while (!condition()) {
    if (Date.now() > deadline) {
      assert.fail(`not within ${limitMs} ms: ${typeof what === "function" ? what() : what}`);
    }
    await pause(5);
  }
}

export function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Opens the clients for `body` and closes them after it, in some way also when it has failed. */
export async function withOpen(clients, body) {
  try {
    await within(TEST_LIMIT_MS, async () => {
      await Promise.all(clients.map((client) => client.open()));
      await body(...clients);
      await Promise.all(clients.map((client) => client.close()));
    });
  } catch (error) {
    clients.forEach((client) => client.abandon());
    throw error;
  }
}

const TEST_LIMIT_MS = 90_000;

function within(limitMs, body) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not done within ${limitMs} ms`)), limitMs);
    body()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

/** Lost, doubled and displaced ones among `got`, which should be exactly `wanted`, in order. */
export function compare(got, wanted) {
  const seen = new Map();
  got.forEach((n) => seen.set(n, (seen.get(n) ?? 0) + 1));
  const expected = new Set(wanted);
  return {
    lost: wanted.filter((n) => !seen.has(n)),
    doubled: [...seen].filter(([, times]) => times > 1).map(([n]) => n),
    strange: [...seen.keys()].filter((n) => !expected.has(n)),
    displaced: got.filter((n, i) => i > 0 && n < got[i - 1]),
  };
}

export const perfect = { lost: [], doubled: [], strange: [], displaced: [] };

export function numbers(from, count) {
  return Array.from({ length: count }, (_, i) => from + i);
}
