/** The front page: only has to know where the server is. */

import {showEndpoint} from "./page.js";

showEndpoint();
