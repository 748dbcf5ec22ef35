//! The parameter structs cross an ABI: emitted code writes them as machine words in field order.

use resnet_runtime::kernels::*;

/// The words of `$struct`, each field set to its position in the list.
macro_rules! assert_words {
    ($call:ident($struct:ident): $($field:ident)+) => {{
        let mut words = 0usize..;
        let params = $struct { $( $field: words.next().unwrap() ),+ };
        let expected: Vec<usize> = (0..words.start).collect();
        assert_eq!(Call::$call(params).words(), expected);
        let mut offsets = expected.iter().map(|word| word * size_of::<usize>());
        $( assert_eq!(std::mem::offset_of!($struct, $field), offsets.next().unwrap()); )+
        assert_eq!(align_of::<$struct>(), align_of::<usize>());
    }};
}

#[test]
fn parameters_are_words_in_field_order() {
    assert_words!(Conv(ConvParams): pixels x_step blocks x_block kernel_rows kernel_columns x_row
        x_column out_blocks y_block r_block residual relu next);
    assert_words!(WinogradInput(WinogradInputParams): tile_rows tile_columns stride tiles x_row
        y_point);
    assert_words!(WinogradOutput(WinogradOutputParams): tile_rows tile_columns stride tiles rows
        columns x_point y_row r_row residual relu);
    assert_words!(MaxPool(PoolParams): in_rows in_columns x_row out_rows out_columns y_row
        kernel_rows kernel_columns stride_rows stride_columns padding_rows padding_columns);
    assert_words!(Gate(PlaneParams): rows columns x_row r_row y_row residual relu);
    assert_words!(ChannelConv(ChannelConvParams): channels kernel);
    assert_words!(GroupMean(GroupParams): channels group epsilon);
    assert_words!(Mean(MeanParams): rows columns x_row);
    assert_words!(ZeroPad(ZeroPadParams): pixels x_step x_block y_block in_channels out_channels
        before);
    assert_words!(Ring(RingParams): rows columns top bottom left right lanes);
    assert_words!(ToBlocked(CopyParams): channels rows columns x_row y_row plane);
    assert_words!(Softmax(SoftmaxParams): channels);
}

#[test]
fn addresses_are_the_tables() {
    let table = Isa::Portable.table().unwrap();
    let call = Call::Softmax(SoftmaxParams { channels: 1 });
    assert_eq!(call.address(table), table.softmax as *const u8);
    assert_eq!((call.name(), call.operands()), ("softmax", &["x", "y"][..]));
}
