use crate::Workshop;

#[test]
fn a_table_goes_to_stdout_and_checks_itself() {
    let workshop = Workshop::new();
    let table = workshop.resnet("new --depth 18").succeeds();
    assert!(table.contains("name: resnet18\ninput: 3x224x224\ntable:\n"), "{table}");
    assert!(table.contains("expect: {depth: 18, params: 11689512, macs: 1.814e9}\n"), "{table}");
    workshop.write("again.yaml", &table);
    let report = workshop.resnet("check again.yaml").succeeds();
    assert!(report.contains("11,689,512"), "{report}");
    workshop
        .write("other.yaml", table.replace("repeat: 2, channels: 512", "repeat: 3, channels: 512"));
    workshop.resnet("check other.yaml").fails("`expect.depth` is 18, but the network has 20");
}

#[test]
fn options_shape_the_table() {
    let workshop = Workshop::new();
    let options = "new --repeats 1,2 --block bottleneck --width 0.5 --groups 2 --width-per-group 8 \
                   --shortcut project_all --classes 7 --input 1x24x16 --name mine";
    let table = workshop.resnet(options).succeeds();
    let rows = "\
name: mine
input: 1x24x16
table:
  - {layer: conv1,   op: conv,       kernel: 7, channels: 32,  stride: 2,                                              output: 12x8}
  - {layer: pool1,   op: max_pool,   kernel: 3,                stride: 2,                                              output: 6x4}
  - {layer: conv2_x, op: bottleneck, repeat: 1, channels: 128,            width: 8,  groups: 2, shortcut: project_all, output: 6x4}
  - {layer: conv3_x, op: bottleneck, repeat: 2, channels: 256, stride: 2, width: 16, groups: 2, shortcut: project_all, output: 3x2}
  - {layer: avgpool, op: global_average_pool,                                                                          output: 1x1}
  - {layer: fc,      op: linear,                channels: 7}
expect: {depth: 11,";
    assert!(table.contains(rows), "{table}");
    let cifar = workshop.resnet("new --cifar --n 3").succeeds();
    assert_eq!(cifar, workshop.resnet("new --cifar --depth 20").succeeds());
    assert!(cifar.contains("expect: {depth: 20, params: 269722, macs: 4.055e7}\n"), "{cifar}");
}

#[test]
fn a_file_is_not_replaced_unless_asked() {
    let workshop = Workshop::new();
    let write = "new --cifar --n 1 -o table.yaml";
    assert_eq!(workshop.resnet(write).succeeds(), "");
    let table = std::fs::read_to_string(workshop.path("table.yaml")).unwrap();
    assert_eq!(workshop.resnet("new --cifar --n 1").succeeds(), table);
    workshop
        .resnet("new --cifar --n 2 -o table.yaml")
        .fails("`table.yaml` exists already: give `--force`");
    assert_eq!(std::fs::read_to_string(workshop.path("table.yaml")).unwrap(), table);
    assert_eq!(workshop.resnet("new --cifar --n 2 -o table.yaml --force").succeeds(), "");
    let replaced = std::fs::read_to_string(workshop.path("table.yaml")).unwrap();
    assert!(replaced.contains("depth: 14"), "{replaced}");
    assert_eq!(workshop.files(), ["colours.safetensors", "colours.yaml", "table.yaml"]);
}

#[test]
fn what_cannot_be_built_is_explained() {
    let workshop = Workshop::new();
    workshop.resnet("new --depth 40").fails("the nearest depth is 34 (basic) or 50 (bottleneck)");
    workshop
        .resnet("new --cifar --depth 21")
        .fails("the nearest depth is 20 (n = 3) or 26 (n = 4)");
    workshop.resnet("new --depth 18 --groups 2").fails("for bottlenecks");
    workshop.resnet("new --depth 18 --width 0.3").fails("64 channels times a width of 0.3");
    workshop.resnet("new --depth 50 --groups 3").fails("groups: 3");
    workshop
        .resnet("new --depth 50 -o absent/table.yaml")
        .fails("cannot write `absent/table.yaml`");
    workshop.resnet("new").must_be_misuse("--depth");
    workshop.resnet("new --depth 18 --repeats 2,2 --block basic").must_be_misuse("cannot be used");
    workshop.resnet("new --n 3").must_be_misuse("--cifar");
    workshop.resnet("new --repeats 2,2").must_be_misuse("--block");
    workshop.resnet("new --repeats 2,0 --block basic").must_be_misuse("--repeats");
    workshop.resnet("new --depth 18 --shortcut b").must_be_misuse("projection, pool_projection");
    workshop.resnet("new --depth 18 --input 224x224").must_be_misuse("such as 3x224x224");
    workshop.resnet("new --depth 18 --input 3x0x224").must_be_misuse("such as 3x224x224");
    workshop.resnet("new --depth 18 --force").must_be_misuse("--output");
}
