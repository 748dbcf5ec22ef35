// The trained network and pictures to try, which the page loads once somebody asks for an answer.
import int8 from "../../models/cifar10/resnet20-int8.safetensors";
import f32 from "../../models/cifar10/resnet20.safetensors";

declare global {
  /** Weights of the trained network, in base 64. */
  var MODELS: { f32: string; int8: string } | undefined;
}

globalThis.MODELS = { f32, int8 };
