/** The client said what state it writes to: is it that one? */

import { checkExpectations } from "../expectation.ts";
import type { Check } from "./check.ts";

export const expectedState: Check = ({ objects, base, expectations }) => {
  checkExpectations(objects, base, expectations);
  return null;
};
