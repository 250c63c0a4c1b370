// swift-tools-version: 6.2
import PackageDescription

// Every module is built with warnings as errors. `Lifetimes` allows a type to hand out a `Span` of its own bytes.
let settings: [SwiftSetting] = [
    .treatAllWarnings(as: .error),
    .enableExperimentalFeature("Lifetimes"),
    // Sources/Decisions/0006: what debug builds check at each access to a class's property costs a tenth of a request.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

// The arrows between the targets point downward only; Sources/README.md draws them.
let package = Package(
    name: "Sluice",
    targets: [
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CAres", pkgConfig: "libcares", providers: [.apt(["libc-ares-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CBrotli", pkgConfig: "libbrotlienc", providers: [.apt(["libbrotli-dev"])]),

        .target(name: "SluiceBytes", swiftSettings: settings),
        .target(name: "SluiceStreams", dependencies: ["SluiceBytes"], swiftSettings: settings),
        .target(
            name: "SluiceHTTP", dependencies: ["SluiceBytes", "CNghttp2", "CZlib", "CBrotli"], swiftSettings: settings),
        .target(
            name: "SluiceIO", dependencies: ["SluiceBytes", "CLinux", "COpenSSL", "CAres"], swiftSettings: settings),
        .target(
            name: "SluiceConfig", dependencies: ["SluiceBytes", "SluiceStreams", "CYAML"], swiftSettings: settings),
        // Its files become arrays in the binary, so that it stays one file. Apart, since they take seconds to compile.
        .target(name: "SluicePage", resources: [.embedInCode("Assets")], swiftSettings: settings),
        .target(
            name: "SluiceProxy",
            dependencies: ["SluiceBytes", "SluiceStreams", "SluiceHTTP", "SluiceIO", "SluiceConfig", "SluicePage"],
            swiftSettings: settings),
        .target(
            name: "SluiceDemo", dependencies: ["SluiceBytes", "SluiceStreams", "SluiceHTTP", "SluiceIO"],
            swiftSettings: settings),
        .target(
            name: "SluiceDoctor", dependencies: ["SluiceBytes", "SluiceStreams", "SluiceHTTP", "SluiceIO"],
            swiftSettings: settings),
        .executableTarget(
            name: "sluice",
            dependencies: [
                "SluiceProxy", "SluiceConfig", "SluiceIO", "SluiceDemo", "SluiceDoctor", "SluiceStreams", "SluiceBytes",
            ],
            swiftSettings: settings),

        .systemLibrary(name: "CBrotliDecoder", path: "Tests/CBrotliDecoder", pkgConfig: "libbrotlidec"),
        .target(
            name: "SluiceTesting", dependencies: ["SluiceBytes"], path: "Tests/SluiceTesting", swiftSettings: settings),
        .executableTarget(
            name: "TokenPathBenchmark", dependencies: ["SluiceBytes", "SluiceStreams", "SluiceHTTP"],
            path: "Tests/Benchmarks/TokenPath", swiftSettings: settings),
        .target(
            name: "SluiceSimulation",
            dependencies: [
                "SluiceProxy", "SluiceConfig", "SluiceIO", "SluiceHTTP", "SluiceStreams", "SluiceBytes", "CLinux",
            ],
            path: "Tests/Simulation/World", swiftSettings: settings),
        .executableTarget(
            name: "Simulation", dependencies: ["SluiceSimulation"], path: "Tests/Simulation/Runner",
            swiftSettings: settings),
        .testTarget(name: "SluiceSimulationTests", dependencies: ["SluiceSimulation"], swiftSettings: settings),
        .testTarget(
            name: "SluiceBytesTests", dependencies: ["SluiceBytes", "SluiceTesting"], swiftSettings: settings),
        .testTarget(
            name: "SluiceStreamsTests", dependencies: ["SluiceStreams", "SluiceTesting"], swiftSettings: settings),
        .testTarget(
            name: "SluiceHTTPTests", dependencies: ["SluiceHTTP", "SluiceTesting", "CBrotliDecoder", "CZlib"],
            swiftSettings: settings),
        .testTarget(name: "SluiceIOTests", dependencies: ["SluiceIO", "SluiceTesting"], swiftSettings: settings),
        .testTarget(
            name: "SluiceConfigTests", dependencies: ["SluiceConfig", "SluiceTesting"], swiftSettings: settings),
        .testTarget(
            name: "SluiceDemoTests", dependencies: ["SluiceDemo", "SluiceStreams"], swiftSettings: settings),
        .testTarget(
            name: "SluiceDoctorTests", dependencies: ["SluiceDoctor", "SluiceStreams", "SluiceHTTP", "SluiceBytes"],
            swiftSettings: settings),
        .testTarget(
            name: "SluiceProxyTests", dependencies: ["SluiceProxy", "SluicePage", "SluiceTesting"],
            swiftSettings: settings),
    ]
)
