/** The magnets demo: a board of words that everybody moves. */

import {Board} from "../../js/board.js";
import {Magnets} from "../../js/magnets.js";
import {connectPage, explain} from "../../js/page.js";

const WORDS = [
  "the", "a", "and", "is", "in", "of", "to", "I", "you", "not", "moon", "sea", "bird", "river",
  "night", "bread", "sleeps", "sings", "dreams", "slow", "bright", "old", "wild", "under", "over",
  "s", "ing", "?",
];

const problem = document.querySelector("#problem");
const board = new Board(document.querySelector("#board"), WORDS, "how");
const magnets = new Magnets(connectPage(), board, (error) => {
  problem.textContent = error ? `Not moved: ${explain(error)}.` : "";
});
document.querySelector("#tidy").addEventListener("click", () => magnets.tidy());
