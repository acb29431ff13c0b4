/** The page's icon: one arrow in, two out. */
export const ICON = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">
<rect width="32" height="32" rx="6" fill="#1c5d99"/>
<path d="M5 16h9l7-7h6M14 16l7 7h6" fill="none" stroke="#fff" stroke-width="3"/>
</svg>
`;
