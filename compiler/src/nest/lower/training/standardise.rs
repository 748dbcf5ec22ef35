//! Weight standardization, and the gradient before it.

use resnet_runtime::kernels::{
    BLOCK, Call, Constant, Element, Epilogue, PlaneParams, StandardiseParams,
};

use super::super::Side;
use super::Steps;
use crate::nest::{Loop, Var};
use crate::train::{Filters, Kind, SlotId, ValueId, padded};

impl Steps<'_> {
    pub(super) fn standardise(&mut self, weights: Filters, y: ValueId) {
        let sides = [self.lasting(weights.slot), self.side(y)];
        self.each_filter("standardise", weights, Call::Standardise, sides.clone());
        let Kind::Numbers(len) = self.of.tape.value(y).kind else {
            unreachable!("weights are numbers")
        };
        let own = padded(self.of.state.slot(weights.slot).len);
        if len > own {
            let call = Call::Add(PlaneParams {
                rows: 1,
                columns: (len - own) / BLOCK,
                x_row: 0,
                r_row: 0,
                y_row: 0,
                epilogue: Epilogue::NONE,
            });
            let [x, y] = sides.map(|side| side.skip(own));
            // Without a residual, any address does.
            self.call("a bias as it is".to_owned(), call, [x, y.clone(), y], &[]);
        }
    }

    pub(super) fn standardise_gradient(&mut self, weights: Filters, g: ValueId, y: ValueId) {
        let sides = [self.lasting(weights.slot), self.side(g), self.side(y)];
        self.each_filter("gradient before standardise", weights, Call::StandardiseGradient, sides);
    }

    /// A call for the weights of each output channel, of which the last one writes what pads them too.
    fn each_filter<const N: usize>(
        &mut self,
        what: &str,
        Filters { slot, channels, epsilon }: Filters,
        make: impl Fn(StandardiseParams) -> Call,
        sides: [Side; N],
    ) {
        let all = self.of.state.slot(slot).len;
        let len = all / channels;
        let epsilon = Constant::new(epsilon as f32);
        for (first, count, padding) in [(0, channels - 1, 0), (channels - 1, 1, padded(all) - all)]
        {
            if count > 0 {
                let call = make(StandardiseParams { len, padding, epsilon });
                let loops = [Loop { var: Var::Block, extent: count }];
                let sides = sides.clone().map(|side| side.skip(first * len).with(Var::Block, len));
                self.call(format!("{what} {count} of {len}"), call, sides, &loops);
            }
        }
    }

    /// A lasting tensor, as an operand.
    pub(super) fn lasting(&self, slot: SlotId) -> Side {
        Side::weights(Element::F32, self.of.state.slot(slot).offset)
    }
}
