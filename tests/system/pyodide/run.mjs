// Runs a Python program under Pyodide, with this project's source on its path:  node run.mjs SOURCE PROGRAM.py
//
// The program's `main()` is awaited; what it returns, JSON text, is printed. No package is installed: Pyodide brings
// the standard library, and the source comes from disk.

import { readFile } from "node:fs/promises";
import { loadPyodide } from "pyodide";

const [source, program] = process.argv.slice(2);
const pyodide = await loadPyodide({ env: { PYTHONDONTWRITEBYTECODE: "1" } });
pyodide.FS.mkdir("/source");
pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: source }, "/source");
await pyodide.runPythonAsync("import sys; sys.path.insert(0, '/source')");
await pyodide.runPythonAsync(await readFile(program, "utf8"));
console.log(await pyodide.runPythonAsync("await main()"));
process.exit(0);
