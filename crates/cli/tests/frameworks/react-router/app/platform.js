import { createContext } from "react-router";

/** What the worker was called with: its bindings and its execution context. */
export const platform = createContext();
