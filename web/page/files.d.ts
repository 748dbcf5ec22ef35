// What the bundler makes of files: base 64, text, addresses of data.
declare module "*.safetensors" {
  const base64: string;
  export default base64;
}
declare module "*.wasm" {
  const base64: string;
  export default base64;
}
declare module "*.yaml" {
  const text: string;
  export default text;
}
declare module "*.png" {
  const address: string;
  export default address;
}
