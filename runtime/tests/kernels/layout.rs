//! The parameter structs cross an ABI: emitted code writes them as bytes, laid out as C does.

use std::mem::offset_of;

use resnet_runtime::kernels::*;

/// Checks that the bytes of `$struct` hold each field, of type `$ty`, where the struct does.
macro_rules! assert_bytes {
    ($call:ident($struct:ident): $($field:ident)+; $($more:ident = $value:expr),*) => {{
        let mut numbers = 1usize..;
        let params = $struct { $( $field: numbers.next().unwrap(), )+ $( $more: $value, )* };
        let bytes = Call::$call(params).bytes();
        assert_eq!(bytes.len(), size_of::<$struct>());
        $( assert_eq!(bytes[offset_of!($struct, $field)..][..8], params.$field.to_ne_bytes()); )+
        bytes
    }};
}

#[test]
fn parameters_are_bytes_as_in_memory() {
    let epilogue =
        Epilogue { residual: true, activation: Activation::Relu, stored: Precision::F32 };
    let bytes = assert_bytes!(Conv(ConvParams): pixels x_step blocks x_block kernel_rows
        kernel_columns x_row x_column out_blocks y_block r_block next; epilogue = epilogue);
    let at = offset_of!(ConvParams, epilogue);
    assert_eq!(bytes[at + offset_of!(Epilogue, residual)], 1);
    let activation = &bytes[at + offset_of!(Epilogue, activation)..][..4];
    assert_eq!(activation, (Activation::Relu as u32).to_ne_bytes());
    let bytes = assert_bytes!(GroupMean(GroupParams): channels group; epsilon = Constant::new(0.5));
    assert_eq!(bytes[offset_of!(GroupParams, epsilon)..][..4], 0.5f32.to_ne_bytes());
    assert_bytes!(MaxPool(PoolParams): in_rows in_columns x_row out_rows out_columns y_row
        kernel_rows kernel_columns stride_rows stride_columns padding_rows padding_columns;);
}

#[test]
fn parameters_are_expressions() {
    let epilogue =
        Epilogue { residual: false, activation: Activation::Relu, stored: Precision::F32 };
    let params = PlaneParams { rows: 1, columns: 2, x_row: 3, r_row: 0, y_row: 4, epilogue };
    assert_eq!(
        Call::Gate(params).expression(),
        "PlaneParams { rows: 1, columns: 2, x_row: 3, r_row: 0, y_row: 4, \
         epilogue: Epilogue { residual: false, activation: Activation::Relu, stored: Precision::F32 } }"
    );
    let group = GroupParams { channels: 4, group: 2, epsilon: Constant::new(1e-5) };
    let expected = "GroupParams { channels: 4, group: 2, epsilon: Constant::new(1e-5) }";
    assert_eq!(Call::GroupScale(group).expression(), expected);
}

#[test]
fn addresses_are_the_tables() {
    let table = Isa::Portable.table().unwrap();
    let call = Call::Softmax(SoftmaxParams { channels: 1 });
    let other = Call::Mean(MeanParams { rows: 1, columns: 1, x_row: 0 });
    assert_ne!(call.address(table), other.address(table));
    assert_eq!((call.name(), call.names()), ("softmax", &["x", "y"][..]));
}
