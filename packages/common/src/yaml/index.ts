export { parseStrictYaml } from './strict-yaml.ts';
