use super::*;
use crate::zoo::zoo;

/// The counts of a table that was parsed and checked against its own claims.
fn counts(member: &Member) -> (String, usize, u64, u64) {
    let text = member.table().unwrap_or_else(|error| panic!("{error}"));
    let spec = Spec::from_yaml(&text).unwrap_or_else(|error| panic!("{error}"));
    assert!(spec.expect.depth.is_some() && spec.expect.params.is_some());
    assert!(spec.expect.macs.is_some());
    let graph = Graph::build(&spec).unwrap_or_else(|error| panic!("{error}"));
    (graph.name, graph.depth, graph.params, graph.macs)
}

/// The rows and what is expected, of a table by hand.
fn rows(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("  - ") || line.starts_with("expect")).collect()
}

#[test]
fn known_depths_are_the_zoo_s_networks() {
    for depth in [18, 34, 50, 101, 152] {
        let member = Member::of_depth(Form::ImageNet, depth, None).unwrap();
        let spec = Spec::from_yaml(zoo(&member.name()).unwrap()).unwrap();
        let graph = Graph::build(&spec).unwrap();
        let expected = (graph.name, depth, graph.params, graph.macs);
        assert_eq!(counts(&member), expected);
        assert_eq!(member.depth(), depth);
    }
}

#[test]
fn tables_look_as_if_written_by_hand() {
    let text = Member::of_depth(Form::ImageNet, 50, None).unwrap().table().unwrap();
    assert_eq!(rows(&text), rows(zoo("resnet50").unwrap()));
    let text = Member::of_depth(Form::Cifar, 56, None).unwrap().table().unwrap();
    let by_hand = rows(zoo("cifar-resnet56").unwrap());
    assert_eq!(rows(&text)[..by_hand.len() - 1], by_hand[..by_hand.len() - 1]);
    assert!(text.ends_with("ship, truck]\n"), "{text}");
}

#[test]
fn every_depth_that_is_known_has_it() {
    for (depth, block, repeats) in DEPTHS {
        let member = Member::of_repeats(Form::ImageNet, block, repeats);
        assert_eq!(member.depth(), depth);
        let small = Member { input: Shape::new(1, 5, 9), classes: 3, ..member };
        assert_eq!(counts(&small).1, depth);
        assert!(!small.table().unwrap().contains("preprocess"));
    }
}

#[test]
fn groups_and_widths_are_those_of_torchvision() {
    let fifty = Member::of_depth(Form::ImageNet, 50, None).unwrap();
    let next = Member { groups: 32, width_per_group: Some(4), ..fifty.clone() };
    assert_eq!(counts(&next), ("resnext50_32x4d".into(), 50, 25_028_904, 4_230_479_872));
    assert!(next.table().unwrap().contains("# Grouped as in"));
    let wide = Member { width_per_group: Some(128), ..fifty.clone() };
    assert_eq!(counts(&wide), ("resnet50_128d".into(), 50, 68_883_240, 11_398_021_120));
    // Four times the weights between layers; the first reads three channels still.
    let text = Member { width: 2.0, ..fifty.clone() }.table().unwrap();
    assert!(text.contains("kernel: 7, channels: 128,") && text.contains("channels: 4096"));
    assert!(text.contains("name: resnet50-w2\n"), "{text}");
    let split = Member { groups: 2, width: 0.5, ..fifty };
    assert_eq!(counts(&split).0, "resnet50-g2-w0.5");
}

#[test]
fn cifar_s_networks_count_as_published() {
    let twenty = Member::of_repeats(Form::Cifar, Block::Basic, [3, 3, 3]);
    assert_eq!(counts(&twenty), ("cifar-resnet20".into(), 20, 269_722, 40_551_040));
    let deep = Member::of_depth(Form::Cifar, 164, Some(Block::Bottleneck)).unwrap();
    assert_eq!((deep.repeats.as_slice(), counts(&deep).1), (&[18, 18, 18][..], 164));
    let projected = Member { shortcut: Shortcut::PoolProjection, ..twenty };
    assert!(projected.table().unwrap().contains("shortcut: pool_projection, output: 8x8}"));
}

#[test]
fn depths_that_nothing_has_name_their_neighbours() {
    let refusal = |form, depth, block| {
        let error = Member::of_depth(form, depth, block).unwrap_err();
        assert!(matches!(error, FamilyError::Depth(_)));
        error.to_string()
    };
    let image = refusal(Form::ImageNet, 40, None);
    assert!(
        image.contains("ResNet-40; the nearest depth is 34 (basic) or 50 (bottleneck)"),
        "{image}"
    );
    let basic = refusal(Form::ImageNet, 50, Some(Block::Basic));
    assert!(
        basic.contains("ResNet-50 of basic blocks; the nearest depth is 34 (basic);"),
        "{basic}"
    );
    assert!(refusal(Form::ImageNet, 0, None).contains("10 (basic);"));
    assert!(refusal(Form::ImageNet, usize::MAX, None).contains("200 (bottleneck);"));
    assert!(refusal(Form::Cifar, 21, None).contains("6n + 2 layers, not 21"));
    assert!(refusal(Form::Cifar, 21, None).contains("20 (n = 3) or 26 (n = 4)"));
    assert!(refusal(Form::Cifar, 2, None).ends_with("is 8 (n = 1)"));
    refusal(Form::Cifar, usize::MAX, Some(Block::Bottleneck));
}

#[test]
fn what_makes_no_network_is_refused() {
    let member = Member::of_repeats(Form::Cifar, Block::Basic, [1, 1, 1]);
    let with = |repeats: &[usize]| Member { repeats: repeats.to_vec(), ..member.clone() }.table();
    for repeats in [&[][..], &[1, 0], &[1; MOST_STAGES + 1]] {
        assert!(matches!(with(repeats), Err(FamilyError::Repeats(_))));
    }
    // More weights than a tensor may have.
    assert!(matches!(with(&[1; MOST_STAGES]), Err(FamilyError::Table(_))));
    assert!(matches!(with(&[usize::MAX; 3]), Err(FamilyError::Table(_))));
    for width in [0.0, -1.0, 0.3, 1e30, f64::NAN, f64::INFINITY] {
        let error = Member { width, ..member.clone() }.table().unwrap_err();
        assert!(matches!(error, FamilyError::Width { base: 16, .. }), "{width}: {error}");
    }
    let grouped = Member { groups: 2, ..member.clone() }.table().unwrap_err();
    assert!(matches!(grouped, FamilyError::Groups));
    let uneven = Member { groups: 3, block: Block::Bottleneck, ..member.clone() };
    assert!(matches!(uneven.table(), Err(FamilyError::Table(_))));
    let nameless = Member { name: Some(" ".into()), ..member.clone() };
    assert!(matches!(nameless.table(), Err(FamilyError::Table(_))));
    let empty = Member { input: Shape::new(3, 0, 8), ..member };
    assert!(matches!(empty.table(), Err(FamilyError::Table(_))));
}

#[test]
fn names_come_back_as_they_were() {
    let member = Member::of_repeats(Form::Cifar, Block::Basic, [1]);
    for name in ["resnet-1.5", "true", "1e5", "a: \"b\" # {c}", "'", "- x", "\u{fc}ber\\n"] {
        let named = Member { name: Some(name.into()), ..member.clone() };
        assert_eq!(counts(&named).0, name);
    }
}
