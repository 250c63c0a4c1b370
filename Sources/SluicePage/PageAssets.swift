/// A file of the page as it stands in `Assets/`.
public struct PageAsset: Sendable {
    public let name: String
    public let contentType: String
    public let bytes: [UInt8]
}

/// The page that `/_sluice/` is: HTML, style sheet and scripts, compiled in as they are, without a build step between.
public enum PageAssets {
    public static let all = [
        PageAsset(name: "", contentType: "text/html; charset=utf-8", bytes: PackageResources.page_html),
        PageAsset(name: "page.css", contentType: "text/css; charset=utf-8", bytes: PackageResources.page_css),
        PageAsset(name: "icon.svg", contentType: "image/svg+xml", bytes: PackageResources.icon_svg),
        script("page.js", PackageResources.page_js), script("play.js", PackageResources.play_js),
        script("live.js", PackageResources.live_js), script("formats.js", PackageResources.formats_js),
        script("snippets.js", PackageResources.snippets_js),
    ]

    private static func script(_ name: String, _ bytes: [UInt8]) -> PageAsset {
        PageAsset(name: name, contentType: "text/javascript; charset=utf-8", bytes: bytes)
    }
}
