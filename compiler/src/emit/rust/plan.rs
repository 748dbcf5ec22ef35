//! What is constant about weights and pictures.

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use resnet_runtime::picture::Preprocess;
use resnet_runtime::tensors::{ConvRecipe, NormTensors, TensorSpec, VectorRecipe, VectorSource};

use super::code::literal;
use super::number;

pub(super) fn tensor(tensor: &TensorSpec) -> TokenStream {
    let TensorSpec { name, shape, init } = tensor;
    let shape = shape.iter().map(|&extent| number(extent));
    let init = literal(init);
    quote!(rt::TensorSpec { name: #name, shape: &[#(#shape),*], init: rt::Init::#init })
}

pub(super) fn recipe(recipe: &ConvRecipe) -> TokenStream {
    // Every field is named here, so that a new one cannot be forgotten.
    let ConvRecipe {
        weight,
        bias,
        norm,
        out_channels,
        in_channels,
        groups,
        kernel_rows,
        kernel_columns,
        planar,
        panel_blocks,
        in_blocks,
        in_block_step,
        transform,
        offset,
    } = recipe;
    let transform = literal(transform);
    let bias = option(bias.as_ref().map(|bias| quote!(#bias)));
    let norm = option(norm.as_ref().map(self::norm));
    let numbers = [out_channels, in_channels, groups, kernel_rows, kernel_columns];
    let [out_channels, in_channels, groups, kernel_rows, kernel_columns] =
        numbers.map(|&value| number(value));
    let [panel_blocks, in_blocks, in_block_step, offset] =
        [panel_blocks, in_blocks, in_block_step, offset].map(|&value| number(value));
    quote! {
        rt::ConvRecipe {
            weight: #weight,
            bias: #bias,
            norm: #norm,
            out_channels: #out_channels,
            in_channels: #in_channels,
            groups: #groups,
            kernel_rows: #kernel_rows,
            kernel_columns: #kernel_columns,
            planar: #planar,
            panel_blocks: #panel_blocks,
            in_blocks: #in_blocks,
            in_block_step: #in_block_step,
            transform: rt::Transform::#transform,
            offset: #offset,
        }
    }
}

pub(super) fn vector(recipe: &VectorRecipe) -> TokenStream {
    let VectorRecipe { source, channels, offset } = recipe;
    let [channels, offset] = [channels, offset].map(|&value| number(value));
    let source = match source {
        VectorSource::Norm(norm) => {
            let norm = self::norm(norm);
            quote!(rt::VectorSource::Norm(#norm))
        }
        VectorSource::Tensor(name) => quote!(rt::VectorSource::Tensor(#name)),
    };
    quote!(rt::VectorRecipe { source: #source, channels: #channels, offset: #offset })
}

fn norm(norm: &NormTensors) -> TokenStream {
    let NormTensors { weight, bias, mean, variance, epsilon } = norm;
    let epsilon = Literal::f64_unsuffixed(*epsilon);
    quote! {
        rt::NormTensors {
            weight: #weight,
            bias: #bias,
            mean: #mean,
            variance: #variance,
            epsilon: #epsilon,
        }
    }
}

pub(super) fn preprocess(preprocess: &Preprocess) -> TokenStream {
    let Preprocess { resize, crop, mean, std } = preprocess;
    let resize = option(resize.map(|side| {
        let side = number(side);
        quote!(#side)
    }));
    let crop = option(crop.map(|(height, width)| {
        let (height, width) = (number(height), number(width));
        quote!((#height, #width))
    }));
    let [mean, std] = [mean, std].map(|values| {
        let values = values.iter().map(|value| literal(value));
        quote!(::std::vec![#(#values),*])
    });
    quote!(rt::Preprocess { resize: #resize, crop: #crop, mean: #mean, std: #std })
}

fn option(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(Some(#value)),
        None => quote!(None),
    }
}
