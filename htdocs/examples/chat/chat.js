/** The chat demo: a page with one room. */

import {ChatRoom} from "../../js/chatroom.js";
import {connectPage} from "../../js/page.js";

new ChatRoom(document.querySelector("#chat"), connectPage());
