// A module with the compiler's doors that knows no network and does what is wanted when it is given a table: in WebAssembly's bytes.

const UNREACHABLE = [0x00];
/** `loop br 0 end`. */
const ENDLESS = [0x03, 0x40, 0x0c, 0x00, 0x0b];
const RETURNS = (value: number) => [0x41, ...signed(value)];

/** Small numbers, as LEB128. */
const signed = (value: number) => (value < 64 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
const unsigned = (value: number) => (value < 128 ? [value] : [(value & 0x7f) | 0x80, value >> 7]);
const sized = (bytes: number[]) => [...unsigned(bytes.length), ...bytes];
const list = (items: number[][]) => [...unsigned(items.length), ...items.flat()];
const section = (id: number, content: number[]) => [id, ...sized(content)];
const name = (text: string) => sized([...Buffer.from(text)]);

/** What it says, always: no network. */
const SAYS = "[]";
const AT = 1024;

/** `check` stops, or does not end. */
export function broken(how: "stops" | "endless"): string {
  const [nothing, number, takes] = [0, 1, 2];
  const check = [...(how === "stops" ? UNREACHABLE : ENDLESS), ...RETURNS(0)];
  const doors: [string, number, number[]][] = [
    ["start", nothing, []], ["input", takes, RETURNS(AT + 64)], ["output", number, RETURNS(AT)], ["output_len", number, RETURNS(SAYS.length)],
    ["zoo", number, RETURNS(1)], ["check", number, check],
  ];
  const types = [[0x60, 0, 0], [0x60, 0, 1, 0x7f], [0x60, 1, 0x7f, 1, 0x7f]];
  const exported = doors.map(([door], index) => [...name(door), 0, index]);
  const bytes = [
    0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
    ...section(1, list(types)),
    ...section(3, list(doors.map(([, type]) => [type]))),
    ...section(5, list([[0, 1]])),
    ...section(7, list([[...name("memory"), 2, 0], ...exported])),
    ...section(10, list(doors.map(([, , code]) => sized([0, ...code, 0x0b])))),
    ...section(11, list([[0, 0x41, ...signed(AT), 0x0b, ...sized([...Buffer.from(SAYS)])]])),
  ];
  return Buffer.from(bytes).toString("base64");
}
