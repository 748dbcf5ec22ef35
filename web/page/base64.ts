/** The bytes of a text in base 64. */
export function bytes(base64: string): Uint8Array {
  const characters = atob(base64);
  const made = new Uint8Array(characters.length);
  for (let i = 0; i < made.length; i++) made[i] = characters.charCodeAt(i);
  return made;
}
