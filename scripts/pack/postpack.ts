// npm runs this in a package's folder after it has packed it: everything as prepack found it.
import { renameSync, rmSync } from 'node:fs';

renameSync('package.json.kept', 'package.json');
for (const it of ['lib', 'LICENSE']) rmSync(it, { recursive: true });
