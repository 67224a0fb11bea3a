/** How the page of a bundle looks. */
export const pageStyle = `
:root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
body { margin: 1.5rem; }
h1 { font-size: 1.4rem; }
h2 { font-size: 1.1rem; margin-top: 1.5rem; }
.verdict { padding: .6rem .9rem; border-radius: .3rem; font-weight: 600; }
.good { background: #d9f2df; color: #0b4a1c; }
.bad { background: #fbd9d6; color: #7a0e05; }
.faults li { color: #b3150a; margin: .25rem 0; }
@media (prefers-color-scheme: dark) { .faults li { color: #ff8f86; } }
table { border-collapse: collapse; width: 100%; }
th, td { border: 1px solid #8886; padding: .3rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere; }
th { background: #8882; }
td, li, p { unicode-bidi: isolate; direction: ltr; }
tr.bad td { background: #fbd9d6; color: #7a0e05; }
code { font: 13px/1.3 ui-monospace, monospace; }
small { opacity: .8; }
`;
